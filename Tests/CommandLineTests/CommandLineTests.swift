import ArgumentParser
import Glibc
import Posix
import Prefetch
import TestSupport
import Testing

@testable import millrace

@Suite struct ParserTests {
  @Test func sizesAreReadWithTheirUnits() {
    let table: [(String, ByteSize?)] = [
      ("0", .bytes(0)), ("17", .bytes(17)), ("512M", .bytes(512 << 20)),
      ("10GiB", .bytes(10 << 30)),
      ("10GB", .bytes(10_000_000_000)), ("1.5G", .bytes(3 << 29)), ("80%", .percent(80)),
      ("1k", .bytes(1024)),
      ("", nil), ("%", nil), ("0%", nil), ("101%", nil), ("-1", nil), ("1.5", nil), ("1.G", nil),
      (".5G", nil),
      ("1X", nil), ("G", nil), ("99999999999G", nil), ("1 G", nil), ("1..5G", nil), ("١G", nil),
    ]
    for (text, size) in table { #expect(ByteSize(text) == size, "\(text)") }
  }

  @Test func everySizeInBytesIsReadBack() {
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<2000 {
      let bytes = UInt64.random(in: 0...UInt64(Int64.max), using: &generator)
      #expect(ByteSize("\(bytes)") == .bytes(bytes), "\(bytes)")
      _ = ByteSize.show(bytes)
    }
  }

  @Test func sizesAreShownShort() {
    #expect(ByteSize.show(0) == "0 B")
    #expect(ByteSize.show(120 << 30) == "120 GiB")
    #expect(ByteSize.show(3 << 29) == "1.5 GiB")
    #expect(ByteSize.show(.max) == "16 EiB")
  }

  @Test func timesAreReadWithTheirUnits() {
    let table: [(String, Duration?)] = [
      ("60s", .seconds(60)), ("5m", .seconds(300)), ("0", .zero), ("7", .seconds(7)),
      ("2h", .seconds(7200)),
      ("500ms", .milliseconds(500)), ("forever", TimeText.forever), ("", nil), ("s", nil),
      ("-1s", nil),
      ("1w", nil), ("99999999999d", nil), ("9223372036854775807", nil),
    ]
    for (text, time) in table { #expect(TimeText.parse(text) == time, "\(text)") }
  }

  @Test func modesAreOctal() {
    #expect(OctalMode.parse("0644") == 0o644)
    #expect(OctalMode.parse("444") == 0o444)
    for bad in ["", "8", "0x1", "-1", "1000", "rw"] {
      #expect(OctalMode.parse(bad) == nil, "\(bad)")
    }
  }

  @Test func sourcesAreTakenApart() throws {
    let none: (String) -> Bool = { _ in false }
    #expect(try SourceAddress("s3://b", isFolder: none) == .bucket(name: "b", prefix: ""))
    #expect(try SourceAddress("s3://b/", isFolder: none) == .bucket(name: "b", prefix: ""))
    #expect(try SourceAddress("s3://b/a/c", isFolder: none) == .bucket(name: "b", prefix: "a/c/"))
    for text in ["accesspoint/ap/a/b", "accesspoint:ap/a/b/"] {
      #expect(
        try SourceAddress("s3://arn:aws:s3:r:1:" + text, isFolder: none)
          == .bucket(name: "arn:aws:s3:r:1:accesspoint/ap", prefix: "a/b/"))
    }
    #expect(
      try SourceAddress("s3://arn:aws:s3-outposts:r:1:outpost/o/accesspoint/n/p", isFolder: none)
        == .bucket(name: "arn:aws:s3-outposts:r:1:outpost/o/accesspoint/n", prefix: "p/"))
    #expect(try SourceAddress("http://h/p/", isFolder: none) == .site(url: "http://h/p/"))
    #expect(try SourceAddress("file:///d", isFolder: none) == .folder(path: "/d"))
    #expect(try SourceAddress("x", isFolder: { _ in true }) == .folder(path: "x"))
    for bad in [
      "", "s3://", "s3:///x", "s3://b u/", "file://d", "ftp://h/", "http:///p", "nowhere", "s3:b",
      "s3://arn:aws:s3",
    ] {
      #expect(throws: Failure.self, "\(bad)") { try SourceAddress(bad, isFolder: none) }
    }
  }

  @Test func mountTableIsReadWithEscapes() {
    let info = MountInfo(
      """
      25 30 0:23 / /sys rw,nosuid shared:7 - sysfs sysfs rw
      99 25 0:52 / /mnt/a\\040b rw,nosuid - fuse.millrace s3://b/a\\040c rw,user_id=1000,group_id=0
      broken line
      """.utf8)
    #expect(info.entries.count == 2)
    let mount = info.topmost(at: "/mnt/a b")
    #expect(mount?.isOurs == true)
    #expect(mount?.source == "s3://b/a c")
    #expect(mount?.user == 1000)
  }

  @Test func theLeastLimitOfTheCgroupsCounts() {
    let files = [
      "/sys/fs/cgroup/a/b/memory.max": "max\n", "/sys/fs/cgroup/a/memory.max": "1000000\n",
      "/sys/fs/cgroup/memory/x/memory.limit_in_bytes": "9223372036854771712\n",
      "/sys/fs/cgroup/memory/memory.limit_in_bytes": "2000000\n",
    ]
    #expect(
      Machine.cgroupLimit(cgroups: "4:memory:/x\n0::/a/b\n", read: { files[$0] }) == 1_000_000)
    #expect(Machine.cgroupLimit(cgroups: "4:memory:/x\n", read: { files[$0] }) == 2_000_000)
    #expect(Machine.cgroupLimit(cgroups: "0::/z\n", read: { files[$0] }) == nil)
  }

  @Test func addressesOfURLsAreFound() {
    #expect(SourceChecks.endpoint("https://h/x")?.port == "443")
    #expect(SourceChecks.endpoint("http://h:81/x")?.port == "81")
    #expect(SourceChecks.endpoint("http://[::1]:9/")?.host == "::1")
  }
}

@Suite struct SettingsTests {
  private func settings(_ arguments: [String], _ environment: [String: String] = [:]) throws
    -> Settings
  {
    try Settings(
      source: "s3://b", options: try SharedOptions.parse(arguments), environment: environment,
      memory: 64 << 30)
  }

  @Test func optionBeatsEnvironmentBeatsDefault() throws {
    let environment = [
      "MILLRACE_CACHE_SIZE": "10G", "MILLRACE_ALLOW_OTHER": "yes", "MILLRACE_REGION": "",
    ]
    #expect(try settings([], environment).cacheSize == .bytes(10 << 30))
    #expect(try settings(["--cache-size", "20%"], environment).cacheSize == .percent(20))
    #expect(try settings([]).cacheSize == .percent(75))
    #expect(try settings([], environment).allowOther)
    #expect(try settings([], environment).region == nil)
    #expect(try settings([]).memoryLimit == 2 << 30)
    #expect(try settings([]).cacheMinFree == .percent(10))
    #expect(try settings(["--cache-min-free", "20G"]).cacheMinFree == .bytes(20 << 30))
    for budget in ["16", "16x"] {
      #expect(try settings(["--prefetch-budget", budget]).prefetchBudget == 16)
    }
    #expect(try settings([], ["MILLRACE_PREFETCH": "all"]).prefetch == .all)
    #expect(try settings([], ["MILLRACE_PATH_STYLE": "true"]).pathStyle == true)
    #expect(try settings(["--virtual-host"], ["MILLRACE_PATH_STYLE": "true"]).pathStyle == false)
    #expect(try settings([], ["MILLRACE_VIRTUAL_HOST": "true"]).pathStyle == false)
    #expect(try settings([]).pathStyle == nil)
    #expect(throws: Failure.self) {
      try settings([], ["MILLRACE_VIRTUAL_HOST": "true", "MILLRACE_PATH_STYLE": "true"])
    }
    #expect(try settings([], ["SSL_CERT_FILE": "/tls/ca.pem"]).siteCABundle == "/tls/ca.pem")
  }

  @Test func wrongValuesAreUsageErrorsThatNameTheirPlace() {
    let wrong = [
      ["--cache-size", "x"], ["--memory-limit", "1"], ["--metadata-ttl", "x"],
      ["--io-timeout", "0"],
      ["--uid", "-1"], ["--file-mode", "9"], ["--threads", "0"], ["--log-level", "loud"],
      ["--endpoint-url", "host"], ["--ca-bundle", "/does/not/exist"],
      ["--path-style", "--virtual-host"],
    ]
    for arguments in wrong {
      do {
        let argument =
          arguments.count == 2 && arguments[1].hasPrefix("-1") ? ["--uid=-1"] : arguments
        _ = try settings(argument)
        Issue.record("accepted: \(arguments)")
      } catch let failure as Failure {
        #expect(failure.code == 2)
        #expect(failure.description.contains(arguments[0]), "\(failure)")
      } catch { Issue.record("\(error)") }
    }
    #expect(throws: Failure.usage("MILLRACE_GID 'x': expected a number from 0 to 4294967294")) {
      try settings([], ["MILLRACE_GID": "x"])
    }
  }
}

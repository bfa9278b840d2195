import Foundation
import Glibc
import LinkServer
import Posix
import TestSupport
import Testing

extension MountTests {
  /// What a mount says of itself is right from its first second on.
  @Suite struct Trust {
    private func millrace(_ arguments: String...) throws -> CommandResult {
      try CommandResult.run([Checkout.millrace()] + arguments, within: .seconds(120))
    }

    /// The index of the cache is read in the background: who asks at once waits for it.
    @Test func duSaysTheSameAfterEachRemount() throws {
      let files = 400
      let served = try Backend.folder.serve { scratch in
        for index in 0..<files { try scratch.file("tree/d\(index % 7)/\(index)", text: "\(index)") }
        return scratch.path("tree")
      }
      let cache = try served.scratch.folder("cache")
      for round in 0..<7 {
        let mount = try served.mount(cache: cache, options: ["--prefetch", "off"])
        if round == 0 { #expect(try millrace("warm", mount.path).succeeded) }
        let said = try millrace("du", mount.path, "--json")
        #expect(
          said.succeeded && said.output.contains("\"filesOnDisk\" : \(files)"), "\(round): \(said)")
        if round == 6 {
          let evicted = try millrace("evict", mount.path)
          #expect(evicted.output.contains("Evicted \(files) files of \(files)"), "\(evicted)")
        }
        try mount.unmount()
      }
    }

    @Test func anEvictionRightAfterAMountFindsAllFiles() throws {
      let files = 400
      let served = try Backend.folder.serve { scratch in
        for index in 0..<files { try scratch.file("tree/\(index)", text: "\(index)") }
        return scratch.path("tree")
      }
      let cache = try served.scratch.folder("cache")
      let first = try served.mount(cache: cache, options: ["--prefetch", "off"])
      #expect(try millrace("warm", first.path).succeeded)
      try first.unmount()
      let again = try served.mount(cache: cache, options: ["--prefetch", "off"])
      let said = try millrace("evict", again.path)
      #expect(said.output.contains("Evicted \(files) files of \(files)"), "\(said)")
      try again.unmount()
    }

    @Test func anOrderOfWhichNothingExistsIsRefusedAndTheLastOneStays() throws {
      let rig = try PrefetchRig(["--prefetch", "off"])
      defer { rig.server.stop() }
      let mount = rig.mount.path
      let good = try rig.scratch.file("good", text: "d/1000.bin\nd/1001.bin\n")
      #expect(try millrace("order", mount, good).succeeded)
      // Relative to something else, as an absolute path of another node would be.
      let bad = try rig.scratch.file(
        "bad", text: (0..<300).map { "train/d/\(1000 + $0).bin\n" }.joined())
      let said = try millrace("order", mount, bad)
      #expect(said.status == .exited(1), "\(said)")
      for words in [
        "none of its first 300 paths", "train/d/1000.bin", "relative to the mount point",
      ] {
        #expect(said.errors.contains(words), "\(said)")
      }
      // A program that writes it learns it from close(2), and the log says why.
      let file = open(mount + "/.millrace/order", O_WRONLY | O_CLOEXEC | O_TRUNC)
      #expect(write(file, "nofile\n", 7) == 7)
      #expect(close(file) == -1 && errno == ENOENT)
      #expect(rig.mount.logText.contains("its only path is not a file of the mount: 'nofile'"))
      let stats = try rig.mount.stats()
      #expect(stats.json.contains(#""files" : 2"#), "\(stats.json)")
      try rig.mount.unmount()
    }

    @Test func pathsOfAnOrderThatDoNotExistAreCountedInItsAnswer() throws {
      let rig = try PrefetchRig(["--prefetch", "off"])
      defer { rig.server.stop() }
      let list = try rig.scratch.file("list", text: "d/1000.bin\nd\nnone\nd/1001.bin\n")
      let said = try millrace("order", rig.mount.path, list, "--name", "rank0")
      #expect(said.succeeded && said.output.contains("Order of 4 files"), "\(said)")
      #expect(
        said.errors.contains("2 of the first 4 paths are not files of the mount, such as 'd'"),
        "\(said)")
      let answer = try CommandResult.check([
        "curl", "-sS", "--unix-socket", rig.mount.stats().text("socket"), "--data-binary",
        "d/1000.bin\nnone\n", "http://millrace/v1/order/rank1",
      ]).output
      #expect(answer.contains(#""pathsChecked" : 2"#), "\(answer)")
      #expect(answer.contains(#""pathsNotFound" : 1"#), "\(answer)")
      let refused = try CommandResult.check([
        "curl", "-sS", "--unix-socket", rig.mount.stats().text("socket"), "-w", " %{http_code}",
        "--data-binary", "none\n", "http://millrace/v1/order/rank2",
      ]).output
      #expect(refused.hasSuffix(" 400") && refused.contains("relative to the mount"), "\(refused)")
      try rig.mount.unmount()
    }

    /// Seconds by cause, over all processes.
    private func waits(_ mount: MountedMillrace) throws -> [String: Double] {
      let json = try mount.stats().json
      let document = try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any]
      var sums: [String: Double] = [:]
      for caller in document?["callers"] as? [[String: Any]] ?? [] {
        for (cause, time) in caller["waitSeconds"] as? [String: Any] ?? [:] {
          sums[cause, default: 0] += (time as? NSNumber)?.doubleValue ?? 0
        }
      }
      return sums
    }

    /// 20 readers at once, of which each second lets a few go.
    @Test(
      .enabled(if: requireOrSkip(.program("python3"))),
      arguments: [["--max-requests-per-second", "10"], ["--max-bandwidth", "1MB"]])
    func aRateLimitIsACauseOfWaitingOfItsOwn(limit: [String]) throws {
      let rig = try PrefetchRig(["--prefetch", "off"] + limit, link: .loopback)
      defer { rig.server.stop() }
      let count = limit[0] == "--max-bandwidth" ? 100 : 20
      try CommandResult.check([
        "python3", "-c",
        "import sys\nfrom concurrent.futures import ThreadPoolExecutor as P\n"
          + "read = lambda n: len(open(f'{sys.argv[1]}/d/{1000 + n}.bin', 'rb').read())\n"
          + "assert sum(P(20).map(read, range(\(count)))) == \(count) * 20000",
        rig.mount.path,
      ])
      let waits = try waits(rig.mount)
      let all = waits.values.reduce(0, +)
      #expect(waits["limit", default: 0] > 0.5 * all, "\(waits)")
      #expect(try rig.mount.stats().number("store.rateLimitedRequests") > 0)
      try rig.mount.unmount()
    }

    private func report(_ mount: MountedMillrace) throws -> (away: Double, error: String?) {
      let json = try mount.stats().json
      let document = try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any]
      let store = document?["store"] as? [String: Any]
      let seconds = (store?["unreachableSeconds"] as? NSNumber)?.doubleValue
      return (seconds ?? -1, store?["lastError"] as? String)
    }

    @Test func aStoreThatIsAwayIsNamedWhileAReaderWaits() throws {
      let scratch = try TemporaryFolder("away")
      try scratch.file("buckets/data/a", text: String(repeating: "a", count: 100_000))
      let server = try LinkServer(folder: scratch.path("buckets"), link: .loopback)
      let port = server.port
      // The usual --io-timeout.
      let mount = try MountedMillrace(
        "s3://data", cache: scratch.folder("cache"),
        options: ["--endpoint-url", "http://127.0.0.1:\(port)", "--no-sign-request"])
      #expect(try CommandResult.check(["ls", mount.path]).output == "a\n")
      #expect(try report(mount).away == 0)
      server.stop()
      let reader = try ChildProcess(["cat", mount.path + "/a"])
      let isNamed = waitFor(within: .seconds(90)) { () -> Bool? in
        ((try? report(mount))?.away ?? 0) > 1 ? true : nil
      }
      #expect(isNamed == true)
      #expect(try report(mount).error?.contains("127.0.0.1:\(port)") == true)
      #expect(reader.poll() == nil)
      let back = try LinkServer(folder: scratch.path("buckets"), link: .loopback, port: port)
      defer { back.stop() }
      #expect(reader.wait(within: .seconds(60)) == .exited(0))
      #expect(try report(mount).away == 0)
      #expect(try mount.stats()["reads.failures"] == 0)
      try mount.unmount()
    }

    @Test func theSizeThatTheCacheCanReachIsToldWithTheFreeSpaceThatStaysFree() throws {
      let served = try Backend.folder.serve { scratch in
        try scratch.file("tree/a", text: String(repeating: "a", count: 100_000))
        return scratch.path("tree")
      }
      func reach(_ options: [String]) throws -> (said: Int, cached: Int) {
        let cache = try served.scratch.folder("cache" + options.joined())
        let mount = try served.mount(cache: cache, options: ["--cache-size", "64M"] + options)
        #expect(try readText(mount.path + "/a").utf8.count == 100_000)
        let written = waitFor(within: .seconds(2)) { () -> Int? in
          let bytes = (try? mount.stats().number("diskBytes")) ?? 0
          return bytes > 0 ? bytes : nil
        }
        let said = try mount.stats().number("cacheReachable")
        try mount.unmount()
        return (said, written ?? 0)
      }
      let usual = try reach(["--cache-min-free", "1M"])
      #expect(usual.said == 64 << 20 && usual.cached > 0)
      // All of the disk is to stay free: nothing can be cached.
      let none = try reach(["--cache-min-free", "100%"])
      #expect(none.said == 0 && none.cached == 0)
    }
  }
}

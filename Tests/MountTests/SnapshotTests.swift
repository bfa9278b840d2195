import Glibc
import TestSupport
import Testing

extension MountTests {
  /// Trees that come from a file: snapshots and manifests; and what tells of changes.
  @Suite struct Trees {
    private func millrace(_ server: S3Endpoint, _ arguments: String...) throws -> CommandResult {
      try CommandResult.run(
        [Checkout.millrace()] + arguments, environment: server.environment, within: .seconds(60))
    }

    @Test func aMountOfASnapshotShowsTheDataSetAsItWas() throws {
      let weed = try SeaweedFS.shared()
      let bucket = try weed.freshBucket()
      let s3 = weed.endpoint
      let scratch = try TemporaryFolder("snapshot")
      let cache = try scratch.folder("cache")
      for name in ["a/one", "a/two", "b/three", "gone"] {
        try s3.put("first \(name)".utf8, to: bucket, key: "in/\(name)")
      }
      let made = try millrace(
        s3, "snapshot", "create", "v1", "s3://\(bucket)/in", "--cache-dir", cache)
      #expect(made.status == .exited(0), "\(made.errors)")
      #expect(made.output.hasPrefix("Snapshot v1 of s3://\(bucket)/in: 4 objects, "))
      let again = try millrace(
        s3, "snapshot", "create", "v1", "s3://\(bucket)/in", "--cache-dir", cache)
      #expect(again.status == .exited(1))
      #expect(again.errors.contains("there is a snapshot v1 of s3://\(bucket)/in already"))

      let before = try MountedMillrace(
        "s3://\(bucket)/in", cache: cache, options: ["--snapshot", "v1"],
        environment: s3.environment)
      #expect(try readText(before.path + "/a/one") == "first a/one")
      try s3.put("second, and longer".utf8, to: bucket, key: "in/a/one")
      try s3.put("second, and longer".utf8, to: bucket, key: "in/a/two")
      try s3.put("new".utf8, to: bucket, key: "in/a/new")
      try s3.delete(bucket, key: "in/gone")
      #expect(try namesIn(before.path + "/a") == [Array("one".utf8), Array("two".utf8)])
      // What was read is in the cache, in the version of the snapshot.
      #expect(try readText(before.path + "/a/one") == "first a/one")
      for name in ["a/two", "gone"] {
        for _ in 0..<2 {
          let file = open(before.path + "/" + name, O_RDONLY | O_CLOEXEC)
          #expect(file >= 0)
          defer { close(file) }
          var byte: UInt8 = 0
          #expect(read(file, &byte, 1) == -1 && errno == ESTALE, "\(name)")
        }
      }
      #expect(try readText(before.path + "/b/three") == "first b/three")
      #expect(try before.stats().number("staleObjects") == 2)
      let told = before.logText.split(separator: "\n").filter { $0.contains("since snapshot v1") }
      #expect(told.count == 2 && told.contains { $0.contains("s3://\(bucket)/in/a/two") })
      let update = try millrace(s3, "update", before.path)
      #expect(update.status == .exited(1) && update.errors.contains("snapshot v1"))
      try before.unmount()

      let diff = try millrace(s3, "snapshot", "diff", "v1", "--cache-dir", cache)
      #expect(diff.status == .exited(1))
      #expect(
        diff.output == "+ a/new\n~ a/one\n~ a/two\n- gone\n1 added, 2 changed, 1 removed\n")
      #expect(
        try millrace(s3, "snapshot", "create", "v2", "s3://\(bucket)/in", "--cache-dir", cache)
          .status
          == .exited(0))
      let between = try millrace(s3, "snapshot", "diff", "v1", "v2", "--cache-dir", cache)
      #expect(between.output == diff.output)
      #expect(
        try millrace(s3, "snapshot", "diff", "v2", "--cache-dir", cache).status == .exited(0))
      let list = try millrace(s3, "snapshot", "list", "--cache-dir", cache)
      #expect(list.output.split(separator: "\n").count == 2)
      #expect(
        try millrace(s3, "snapshot", "rm", "v1", "--cache-dir", cache).output
          == "Removed snapshot v1\n")

      let missing = try millrace(
        s3, "mount", "s3://\(bucket)/in", scratch.folder("m"), "--snapshot", "v1", "--cache-dir",
        cache)
      #expect(missing.status == .exited(2))
      #expect(
        missing.errors.contains("no such snapshot") && missing.errors.contains("there are v2"))
      let other = try millrace(
        s3, "mount", "s3://\(bucket)", scratch.folder("n"), "--snapshot", "v2", "--cache-dir", cache
      )
      #expect(other.errors.contains("is of s3://\(bucket)/in"))
      // A damaged one is refused.
      let file = cache + "/snapshots/v2.jsonl"
      var bytes = try readFile(file)
      bytes[bytes.count - 5] ^= 1
      try writeFile(file, bytes)
      let damaged = try millrace(
        s3, "mount", "s3://\(bucket)/in", scratch.folder("o"), "--snapshot", "v2", "--cache-dir",
        cache)
      #expect(damaged.status == .exited(2) && damaged.errors.contains("corrupt"))
    }

    @Test func aManifestIsTheTreeAndNothingIsListed() throws {
      let weed = try SeaweedFS.shared()
      let bucket = try weed.freshBucket()
      let scratch = try TemporaryFolder("manifest")
      try scratch.file("site/x y.bin", text: "from the site")
      let site = try Nginx.start(root: scratch.path("site"))
      let s3 = weed.endpoint
      try s3.put("hello".utf8, to: bucket, key: "in/real")
      try s3.put("elsewhere".utf8, to: bucket, key: "other/place")
      let lines = """
        {"path":"real","size":5}
        {"path":"moved/here","size":9,"key":"other/place"}
        {"path":"moved/web","size":13,"url":"\(site.url)/x%20y.bin"}
        {"path":"absent","size":3,"etag":"0123456789abcdef0123456789abcdef"}

        """
      let csv = """
        path,size,etag,modified,key,url
        real,5,,,,
        moved/here,9,,,other/place,
        moved/web,13,,,,\(site.url)/x%20y.bin
        absent,3,0123456789abcdef0123456789abcdef,,,

        """
      for (name, text) in [("lines", lines), ("csv", csv)] {
        let file = try scratch.file("manifest.\(name)", text: text)
        let proxy = try LoggingProxy.start(before: s3.url)
        let mount = try MountedMillrace(
          "s3://\(bucket)/in", cache: scratch.folder("cache-\(name)"),
          options: ["--manifest", file],
          environment: s3.reached(at: proxy.url).environment)
        let found = try CommandResult.check([
          "find", mount.path, "-type", "f", "-printf", "%P %s\\n",
        ])
        #expect(
          found.output.split(separator: "\n").sorted()
            == ["absent 3", "moved/here 9", "moved/web 13", "real 5"])
        #expect(proxy.requests.isEmpty)
        #expect(try readText(mount.path + "/real") == "hello")
        #expect(try readText(mount.path + "/moved/here") == "elsewhere")
        #expect(try readText(mount.path + "/moved/web") == "from the site")
        #expect(throws: (any Error).self) { try readText(mount.path + "/absent") }
        let wasListed = proxy.requests.contains { $0.method == "HEAD" || $0.isList }
        #expect(!wasListed)
        try mount.unmount()
      }
    }

    @Test func aFolderHasSnapshotsAndManifestsToo() throws {
      let scratch = try TemporaryFolder("folder-snapshot")
      let cache = try scratch.folder("cache")
      try scratch.file("tree/a/one", text: "one")
      try scratch.file("tree/two", text: "two")
      let source = "file://" + scratch.path("tree")
      func run(_ arguments: String...) throws -> CommandResult {
        try CommandResult.run([Checkout.millrace()] + arguments + ["--cache-dir", cache])
      }
      #expect(try run("snapshot", "create", "s", source).status == .exited(0))
      let same = try run("snapshot", "diff", "s")
      #expect(same.status == .exited(0) && same.output == "0 added, 0 changed, 0 removed\n")
      let mount = try MountedMillrace(source, cache: cache, options: ["--snapshot", "s"])
      #expect(try readText(mount.path + "/a/one") == "one")
      try writeFile(scratch.path("tree/two"), Array("changed".utf8))
      #expect(throws: (any Error).self) { try readText(mount.path + "/two") }
      #expect(try readText(mount.path + "/a/one") == "one")
      try mount.unmount()
      #expect(try run("snapshot", "diff", "s").output.hasPrefix("~ two\n"))
      let list = try scratch.file(
        "list", text: "path,size,key\na/one,3,\nthree,7,two\nwrong,8,two\n")
      let listed = try MountedMillrace(source, cache: cache, options: ["--manifest", list])
      #expect(try readText(listed.path + "/a/one") == "one")
      #expect(try readText(listed.path + "/three") == "changed")
      #expect(throws: (any Error).self) { try readText(listed.path + "/wrong") }
      try listed.unmount()
    }

    @Test(arguments: [
      ("{\"path\":\"a\"}", "line 1: the size is missing"),
      ("path,size\na,1\na,2", "\"a\" occurs twice"),
      ("path,size\n../x,1", "line 2: the path \"../x\""), ("path,size\nx,-1", "line 2: the size"),
      ("name\nx", "the first line must name the columns"), ("{\"path\":", "line 1: broken JSON"),
      ("path,size,url\nx,1,ftp://h/x", "line 2: the url"), ("path,size\nx,1,2", "3 columns"),
    ])
    func aManifestThatCannotBeRightIsRefusedWithItsLine(text: String, complaint: String) throws {
      let scratch = try TemporaryFolder("manifest")
      let file = try scratch.file("m", text: text)
      let result = try CommandResult.run([
        Checkout.millrace(), "mount", "file://\(scratch.folder("tree"))", scratch.folder("mnt"),
        "--manifest", file, "--cache-dir", scratch.folder("cache"),
      ])
      #expect(result.status == .exited(2))
      #expect(result.errors.contains("manifest \(file)"), "\(result.errors)")
      #expect(result.errors.contains(complaint), "\(result.errors)")
    }

    @Test func updateTellsWhatChangedAndWarmsThatAlone() throws {
      let weed = try SeaweedFS.shared()
      let bucket = try weed.freshBucket()
      let s3 = weed.endpoint
      let scratch = try TemporaryFolder("update")
      for name in ["a/one", "a/two", "b/three"] {
        try s3.put("first".utf8, to: bucket, key: name)
      }
      let mount = try MountedMillrace(
        "s3://\(bucket)", cache: scratch.folder("cache"), options: ["--metadata-ttl", "forever"],
        environment: s3.environment)
      #expect(try CommandResult.check(["find", mount.path]).output.count > 10)
      #expect(try readText(mount.path + "/a/one") == "first")
      #expect(try readText(mount.path + "/a/two") == "first")
      try s3.put("second, longer".utf8, to: bucket, key: "a/one")
      try s3.put("new".utf8, to: bucket, key: "c/new")
      try s3.delete(bucket, key: "b/three")
      #expect(try readText(mount.path + "/a/one") == "first")
      let update = try millrace(s3, "update", mount.path, "--warm")
      #expect(update.status == .exited(0), "\(update.errors)")
      let lines = update.output.split(separator: "\n").map(String.init)
      #expect(lines.prefix(3) == ["~ a/one (14 B)", "- b/three", "+ c/new (3 B)"])
      #expect(lines.last?.hasPrefix("Warmed 2 files, 17 B") == true)
      #expect(try readText(mount.path + "/a/one") == "second, longer")
      #expect(!fileExists(mount.path + "/b/three"))
      #expect(try mount.stats().number("filesOpenedFromDisk") >= 1)

      try s3.put("third".utf8, to: bucket, key: "a/two")
      #expect(try readText(mount.path + "/a/two") == "first")
      let refresh = try millrace(s3, "refresh", mount.path + "/a")
      #expect(refresh.output == "Forgot the listings of 1 directory under \(mount.path)/a\n")
      let seen = waitFor(within: .seconds(20)) { () -> Bool? in
        (try? readText(mount.path + "/a/two")) == "third" ? true : nil
      }
      #expect(seen == true)
      let nowhere = try millrace(s3, "refresh", scratch.path)
      #expect(nowhere.status == .exited(6) && nowhere.errors.contains("is not on a mount"))
      try mount.unmount()
    }

    @Test func theTreeSurvivesARemount() throws {
      let weed = try SeaweedFS.shared()
      let bucket = try weed.freshBucket()
      let scratch = try TemporaryFolder("remount")
      let cache = try scratch.folder("cache")
      for number in 0..<20 {
        try weed.endpoint.put("x".utf8, to: bucket, key: "d\(number % 4)/f\(number)")
      }
      let proxy = try LoggingProxy.start(before: weed.endpoint.url)
      let environment = weed.endpoint.reached(at: proxy.url).environment
      let first = try MountedMillrace(
        "s3://\(bucket)", cache: cache, options: ["--metadata-ttl", "1h"], environment: environment)
      let listed = try CommandResult.check(["ls", "-liR", first.path]).output
      try first.unmount()
      let before = proxy.requests.count
      let second = try MountedMillrace(
        "s3://\(bucket)", cache: cache, at: first.path, options: ["--metadata-ttl", "1h"],
        environment: environment)
      // Times of folders are those of the mount; all else is the same, inode numbers included.
      let again = try CommandResult.check(["ls", "-liR", second.path]).output
      let files = { (text: String) in text.split(separator: "\n").filter { $0.contains(" -r--") } }
      #expect(files(listed).count == 20)
      #expect(files(again) == files(listed))
      // The mount's own check alone: whether the store is there, its top, a directory, and a byte of a file.
      #expect(proxy.requests.count == before + 3 + MountedMillrace.checkGets)
      try second.unmount()
    }
  }
}

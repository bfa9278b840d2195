import Glibc
import LinkServer
import Posix
import TestSupport
import Testing

extension MountTests {
  /// Warm, pin, evict, du: by the command line and by the socket.
  @Suite struct Jobs {
    private func millrace(_ arguments: String...) throws -> CommandResult {
      try CommandResult.run([Checkout.millrace()] + arguments)
    }

    @Test func warmFetchesWhatIsNotThereAndNothingTwice() throws {
      let rig = try PrefetchRig(["--prefetch", "off"])
      defer { rig.server.stop() }
      let first = try millrace(
        "warm", rig.mount.path + "/d/1000.bin", rig.mount.path + "/d/1001.bin")
      #expect(first.succeeded && first.output.contains("Warmed 2 files"), "\(first)")
      let all = try millrace("warm", rig.mount.path, "--jobs", "16")
      #expect(
        all.succeeded && all.output.contains("Warmed 300 files")
          && all.output.contains("298 files, 5.7 MiB fetched"), "\(all)")
      let gets = rig.server.gets
      #expect(try rig.gets().contains(PrefetchRig.files))
      for index in 0..<PrefetchRig.files {
        #expect(try readFile("\(rig.mount.path)/d/\(1000 + index).bin").count == PrefetchRig.size)
      }
      #expect(
        try millrace("warm", rig.mount.path, "--verify").output.contains("0 files, 0 B fetched"))
      #expect(rig.server.gets == gets)
      try rig.mount.unmount()
    }

    @Test func aListGivesTheFilesAndFailuresAreToldAtTheEnd() throws {
      let rig = try PrefetchRig(["--prefetch", "off"])
      defer { rig.server.stop() }
      let list = try rig.scratch.file(
        "list", Array("d/1005.bin\nd/none.bin\n./d/1006.bin\n\(rig.mount.path)/d/1007.bin\n".utf8))
      let said = try millrace("warm", rig.mount.path, "--list", list)
      #expect(said.status == .exited(1) && said.output.contains("Warmed 3 files"), "\(said)")
      #expect(said.output.contains("1 failure"))
      #expect(said.errors.contains("/d/none.bin: No such file or directory"), "\(said)")
      #expect(try rig.gets().contains(3))
      let below = try millrace("warm", rig.mount.path + "/nowhere")
      #expect(
        below.status == .exited(1) && below.errors.contains("/nowhere: No such file"), "\(below)")
      try rig.mount.unmount()
    }

    @Test func verifyFindsWhatTheDiskHasLostAndFetchesItAgain() throws {
      let rig = try PrefetchRig(["--prefetch", "off"])
      defer { rig.server.stop() }
      #expect(try millrace("warm", rig.mount.path).succeeded)
      #expect(try damageOne(below: rig.scratch.path("cache")))
      let said = try millrace("warm", rig.mount.path, "--verify")
      #expect(said.succeeded && said.output.contains("failed verification"), "\(said)")
      #expect(try rig.gets().contains(PrefetchRig.files + 1))
      for index in 0..<PrefetchRig.files {
        let bytes = try readFile("\(rig.mount.path)/d/\(1000 + index).bin")
        #expect(bytes.allSatisfy { $0 == UInt8(truncatingIfNeeded: index) })
      }
      try rig.mount.unmount()
    }

    /// Writes over the middle of a cache file.
    private func damageOne(below folder: String) throws -> Bool {
      let found = try CommandResult.check(
        [
          "find", folder, "-path", "*/objects/*", "-type", "f", "-size", "+4k", "!", "-name",
          "*.pieces",
        ])
      guard let path = found.output.split(separator: "\n").first else { return false }
      let file = open(String(path), O_WRONLY)
      defer { close(file) }
      return pwrite(file, [UInt8](repeating: 0xEE, count: 64), 64, 9000) == 64
    }

    @Test func whatIsPinnedStaysAndWhatIsEvictedGoes() throws {
      let rig = try PrefetchRig(["--prefetch", "off"])
      defer { rig.server.stop() }
      let mount = rig.mount
      #expect(try millrace("warm", mount.path).succeeded)
      let pinned = try millrace("pin", mount.path + "/d/1000.bin", mount.path + "/d/1001.bin")
      #expect(pinned.succeeded && pinned.output.contains("Pinned 2 files, 2 of them newly"))
      let du = try millrace("du", mount.path)
      #expect(du.output.contains("300 files") && du.output.contains("2 files"), "\(du)")
      let evicted = try millrace("evict", mount.path)
      #expect(
        evicted.status == .exited(1) && evicted.output.contains("Evicted 298 files of 298"),
        "\(evicted)")
      #expect(evicted.errors.contains("d/1001.bin: it is pinned"))
      #expect(try mount.stats().number("diskFiles") == 2)
      #expect(try millrace("unpin", mount.path).output.contains("Unpinned 2 files of 300"))
      #expect(try millrace("evict", mount.path).succeeded)
      #expect(try mount.stats().number("diskBytes") == 0)
      #expect(try readFile(mount.path + "/d/1001.bin").allSatisfy { $0 == 1 })
      #expect(try rig.gets().contains(PrefetchRig.files + 1))
      try mount.unmount()
    }

    @Test func pinsOutliveTheMount() throws {
      let rig = try PrefetchRig(["--prefetch", "off"])
      defer { rig.server.stop() }
      #expect(try millrace("warm", rig.mount.path).succeeded)
      #expect(try millrace("pin", rig.mount.path + "/d/1000.bin").succeeded)
      try rig.mount.unmount()
      let again = try MountedMillrace(
        "s3://data", cache: rig.scratch.path("cache"),
        options: [
          "--endpoint-url", "http://127.0.0.1:\(rig.server.port)", "--no-sign-request",
          "--prefetch",
          "off",
        ])
      let said = try millrace("evict", again.path)
      #expect(
        said.status == .exited(1) && said.errors.contains("d/1000.bin: it is pinned"), "\(said)")
      try again.unmount()
    }

    @Test func aPinMovesToTheVersionThatIsPinnedNext() throws {
      let served = try Backend.folder.serve { scratch in
        for name in ["a", "b"] { try scratch.file("tree/d/" + name, text: name) }
        return scratch.path("tree")
      }
      let cache = try served.scratch.folder("cache")
      let mount = try served.mount(cache: cache, options: ["--prefetch", "off"])
      let path = mount.path + "/d/a"
      #expect(try millrace("warm", mount.path).succeeded)
      #expect(try millrace("pin", path).output.contains("1 of them newly"))
      try served.scratch.file("tree/d/a", text: "another")
      #expect(try millrace("refresh", mount.path).succeeded)
      #expect(try readText(path) == "another")
      // The version of before is still pinned, and this one is not.
      #expect(try millrace("evict", path).succeeded)
      #expect(try millrace("unpin", path).output.contains("Unpinned 1 file of 1"))
      #expect(try millrace("pin", path).output.contains("1 of them newly"))
      // Gone from the store: no path leads there, but all of the mount does.
      #expect(unlink(served.scratch.path("tree/d/a")) == 0)
      #expect(try millrace("refresh", mount.path).succeeded)
      func hasPins() throws -> Bool {
        try !CommandResult.check(["find", cache, "-name", "pins", "-size", "+0"]).output.isEmpty
      }
      #expect(try millrace("unpin", mount.path + "/d").succeeded)
      #expect(try hasPins())
      #expect(try millrace("unpin", mount.path).succeeded)
      #expect(try !hasPins())
      try mount.unmount()
    }

    @Test func aLoadMakesRoomOfWhatWasUsedBeforeAndSaysWhenThereIsNone() throws {
      // 100 files of 20 KB, which take 24 KiB of disk each with their records.
      let rig = try PrefetchRig([
        "--prefetch", "off", "--cache-size", "2500K", "--memory-limit", "64M",
      ])
      defer { rig.server.stop() }
      let names = (0..<300).map { "d/\(1000 + $0).bin\n" }
      let first = try rig.scratch.file("first", Array(names[..<80].joined().utf8))
      let second = try rig.scratch.file("second", Array(names[100..<180].joined().utf8))
      #expect(try millrace("warm", rig.mount.path, "--list", first).succeeded)
      let said = try millrace("warm", rig.mount.path, "--list", second)
      #expect(said.succeeded && said.output.contains("Warmed 80 files"), "\(said)")
      #expect(try rig.mount.stats().number("evictedFiles") > 0)
      let tooMuch = try millrace("warm", rig.mount.path)
      #expect(
        tooMuch.status == .exited(1) && tooMuch.errors.contains("the cache has no free space"),
        "\(tooMuch)")
      #expect(try rig.mount.stats().number("diskBytes") <= 2500 << 10)
      try rig.mount.unmount()
    }

    @Test func anInterruptEndsTheJobAndTheSameCommandGoesOn() throws {
      let rig = try PrefetchRig(["--prefetch", "off", "--max-bandwidth", "1MB"])
      defer { rig.server.stop() }
      let said = rig.scratch.path("said")
      let warm = try ChildProcess(
        [Checkout.millrace(), "warm", rig.mount.path],
        streams: ChildProcess.Streams(output: said, errors: said))
      let begun = waitFor(within: .seconds(20)) { () -> Bool? in
        (try? rig.mount.stats().number("warmedFiles")) ?? 0 > 0 ? true : nil
      }
      #expect(begun == true)
      warm.signal(SIGINT)
      #expect(warm.wait(within: .seconds(20)) == .exited(1))
      #expect(try readText(said).contains("the same command continues where it stopped"))
      let jobs = try CommandResult.check(
        [
          "curl", "-sS", "--unix-socket", rig.mount.stats().text("socket"),
          "http://millrace/v1/jobs/1",
        ])
      #expect(jobs.output.contains(#""state" : "cancelled""#), "\(jobs)")
      try rig.mount.unmount()
    }

    @Test func anUnmountDuringAWarmUpIsToldAsOne() throws {
      let rig = try PrefetchRig(["--prefetch", "off", "--max-bandwidth", "1MB"])
      defer { rig.server.stop() }
      let said = rig.scratch.path("said")
      let warm = try ChildProcess(
        [Checkout.millrace(), "warm", rig.mount.path],
        streams: ChildProcess.Streams(output: said, errors: said))
      let begun = waitFor(within: .seconds(20)) { () -> Bool? in
        (try? rig.mount.stats().number("warmedFiles")) ?? 0 > 0 ? true : nil
      }
      #expect(begun == true)
      try rig.mount.unmount()
      #expect(warm.wait(within: .seconds(20)) == .exited(1))
      let text = try readText(said)
      #expect(text.contains("was unmounted meanwhile"), "\(text)")
    }

    @Test func noPathLeadsOutOfAFolderThatIsMounted() throws {
      let scratch = try TemporaryFolder("above")
      try scratch.file("secret", text: "not yours")
      try scratch.file("data/a", text: "yours")
      let mount = try MountedMillrace(
        "file://" + scratch.path("data"), cache: scratch.folder("cache"),
        options: ["--prefetch", "off"])
      let list = try scratch.file("list", text: "../secret\na/../../secret\na\n")
      let said = try millrace("warm", mount.path, "--list", list)
      #expect(
        said.status == .exited(1) && said.output.contains("Warmed 1 file, 5 B"), "\(said)")
      #expect(said.errors.contains("/../secret: No such file or directory"), "\(said)")
      try mount.unmount()
    }

    @Test func whatDoesNotFitOfAnOrderComesAsItIsRead() throws {
      // 100 files of 20 KB, which take 24 KiB of disk each with their records.
      let rig = try PrefetchRig([
        "--prefetch", "off", "--cache-size", "2500K", "--memory-limit", "64M",
      ])
      defer { rig.server.stop() }
      let names = (0..<PrefetchRig.files).map { "d/\(1000 + ($0 * 7) % PrefetchRig.files).bin" }
      let list = try rig.scratch.file("list", text: names.joined(separator: "\n"))
      let said = try millrace("warm", rig.mount.path, "--list", list, "--order")
      #expect(said.succeeded && said.output.contains("did not fit"), "\(said)")
      #expect(try rig.mount.stats().number("diskBytes") <= 2500 << 10)
      for name in names {
        let index = Int(name.dropFirst(2).dropLast(4))! - 1000
        #expect(
          try readFile(rig.mount.path + "/" + name).allSatisfy {
            $0 == UInt8(truncatingIfNeeded: index)
          })
      }
      // Each came once, ahead of its reader or with it; a few may have had to go before their turn.
      #expect(try rig.gets().lowerBound <= PrefetchRig.files * 21 / 20)
      try rig.mount.unmount()
    }

    @Test func whatIsTooMuchIsRefusedWithItsStatus() throws {
      let rig = try PrefetchRig(["--prefetch", "off", "--max-bandwidth", "100KB"])
      defer { rig.server.stop() }
      let socket = try rig.mount.stats().text("socket")
      func ask(_ arguments: String...) throws -> String {
        try CommandResult.check(
          [
            "curl", "-sS", "--max-time", "60", "--unix-socket", socket, "-w", " %{http_code}",
          ] + arguments
        ).output
      }
      let base = "http://millrace/v1"
      for index in 0..<64 {
        #expect(try ask("-d", "d/1000.bin", base + "/order/\(index)").hasSuffix(" 200"))
      }
      let order = try ask("-d", "d/1000.bin", base + "/order/one-more")
      #expect(order.hasSuffix(" 429") && order.contains("64 orders are in force"), "\(order)")
      let file = open(
        rig.mount.path + "/.millrace/order.one-more", O_WRONLY | O_CLOEXEC | O_CREAT, 0o644)
      #expect(write(file, "d/1000.bin\n", 11) == 11)
      #expect(close(file) == -1 && errno == ENOSPC)
      // Of one name another replaces the last, however many there are.
      #expect(try ask("-d", "d/1001.bin", base + "/order/7").hasSuffix(" 200"))
      for _ in 0..<8 {
        #expect(try ask("-X", "POST", base + "/warm?path=d&jobs=1").hasSuffix(" 202"))
      }
      let ninth = try ask("-X", "POST", base + "/du?path=d")
      #expect(ninth.hasSuffix(" 429") && ninth.contains("8 jobs are running"), "\(ninth)")
      #expect(try ask("-X", "DELETE", base + "/order/0").hasSuffix(" 200"))
      let asOrder = try ask("-X", "POST", base + "/warm?path=d%2F1000.bin&order=1")
      #expect(asOrder.hasSuffix(" 429") && asOrder.contains("8 jobs are running"), "\(asOrder)")
      #expect(try !ask(base + "/stats").contains(#""name" : "warm""#))
      for id in 1...8 { _ = try ask("-X", "DELETE", base + "/jobs/\(id)") }
      #expect(try ask(base + "/jobs/8?wait=20").contains("cancelled"))
      // In chunks, as one that does not know how long its list is.
      let chunked = try ask(
        "-H", "Transfer-Encoding: chunked", "--data-binary", "d/1000.bin\nd/1001.bin\n",
        base + "/du?wait=20")
      #expect(chunked.hasSuffix(" 200") && chunked.contains(#""filesDone" : 2"#), "\(chunked)")
      try rig.mount.unmount()
    }

    @Test(.enabled(if: requireOrSkip(.root))) func theOwnerOfAMountNeedsNoRights() throws {
      let scratch = try TemporaryFolder("owner")
      for index in 0..<30 { try scratch.file("data/\(index)", text: "file \(index)") }
      // Built where perhaps nobody but root may go.
      let program = scratch.path("millrace")
      try CommandResult.check(["cp", Checkout.millrace(), program])
      let mount = try scratch.folder("mnt")
      let cache = try scratch.folder("cache")
      let run = try scratch.folder("run")
      for folder in [mount, cache, run] {
        #expect(chown(folder, 65534, 65534) == 0 && chmod(folder, 0o700) == 0)
      }
      #expect(chmod(scratch.path("."), 0o755) == 0)
      func millrace(by user: Int = 65534, _ arguments: [String]) throws -> CommandResult {
        try CommandResult.run(
          [
            "setpriv", "--reuid", "\(user)", "--regid", "\(user)", "--clear-groups", "env",
            "HOME=\(run)", "XDG_RUNTIME_DIR=\(run)", program,
          ] + arguments)
      }
      // Distributions give everybody the FUSE device; where this machine does not, it is lent for the test.
      var device = stat()
      try #require(stat("/dev/fuse", &device) == 0 && chmod("/dev/fuse", 0o666) == 0)
      defer {
        Mounts.detach(mount)
        chmod("/dev/fuse", device.st_mode & 0o7777)
      }
      let mounted = try millrace([
        "mount", "file://" + scratch.path("data"), mount, "--cache-dir", cache, "--prefetch", "off",
      ])
      #expect(mounted.succeeded, "\(mounted)")
      let list = try scratch.file("list", text: "3\n2\n1\n")
      for (arguments, said) in [
        (["warm", mount], "Warmed 30 files"), (["pin", mount + "/1"], "Pinned 1 file"),
        (["du", mount], "30 files"), (["evict", mount + "/2"], "Evicted 1 file"),
        (["unpin", mount], "Unpinned 1 file"), (["order", mount, list], "3 files"),
        (["stats", mount], "0/3 opened"), (["refresh", mount], "1 directory"),
      ] {
        let result = try millrace(arguments)
        #expect(result.succeeded && result.output.contains(said), "\(arguments): \(result)")
      }
      // Nobody else may, though the way there were open.
      let told = try millrace(["stats", mount, "--json"])
      let socket = try MountStats(json: told.output).text("socket")
      #expect(chmod(run, 0o755) == 0)
      let other = try CommandResult.run([
        "setpriv", "--reuid", "65533", "--regid", "65533", "--clear-groups", "curl", "-sS",
        "--unix-socket", socket, "http://millrace/v1/stats",
      ])
      #expect(other.status == .exited(7) && other.output.isEmpty, "\(other)")
      let root = try CommandResult.run([
        "curl", "-sS", "--unix-socket", socket, "http://millrace/v1/stats",
      ])
      #expect(root.output.contains("counters"), "\(root)")
      #expect(try millrace(["unmount", mount]).succeeded)
      #expect(!Mounts.isMounted(mount))
    }

    @Test func theSocketTakesJobsAndTellsHowTheyGo() throws {
      let rig = try PrefetchRig(["--prefetch", "off"])
      defer { rig.server.stop() }
      let socket = try rig.mount.stats().text("socket")
      func ask(_ arguments: String...) throws -> String {
        try CommandResult.check(
          ["curl", "-sS", "--max-time", "30", "--unix-socket", socket] + arguments
        ).output
      }
      let base = "http://millrace/v1"
      let done = try ask(
        "-H", "Content-Type: application/json", "-d", #"{"paths": ["d/1000.bin", "d/1001.bin"]}"#,
        base + "/warm?wait=20")
      #expect(
        done.contains(#""state" : "done""#) && done.contains(#""filesFetched" : 2"#), "\(done)")
      let begun = try ask("-X", "POST", base + "/warm?path=d&jobs=8")
      #expect(begun.contains(#""id" : "2""#), "\(begun)")
      #expect(try ask(base + "/jobs/2?wait=20").contains(#""filesDone" : 300"#))
      #expect(try ask(base + "/jobs").contains(#""id" : "1""#))
      #expect(try ask(base + "/jobs/77").contains("there is no job 77"))
      #expect(try ask("-X", "DELETE", base + "/jobs/2").contains(#""state" : "done""#))
      #expect(
        try ask("-X", "POST", base + "/du?path=d%2F1000.bin&wait=9").contains(#""filesOnDisk" : 1"#)
      )
      #expect(
        try ask("-X", "POST", base + "/evict?path=d&wait=9").contains(#""filesChanged" : 300"#))
      #expect(try ask("-X", "POST", base + "/refresh?path=d").contains("directories"))
      #expect(try ask("-X", "POST", base + "/update?path=").contains("changes"))
      #expect(
        try ask("--data-binary", "d/1002.bin\nd/1003.bin", base + "/order/rank0").contains(
          #""pathsNotFound" : 0"#))
      #expect(try ask(base + "/stats").contains(#""rank0""#))
      #expect(try ask("-X", "DELETE", base + "/order/rank0").contains("true"))
      #expect(try ask("-X", "POST", base + "/warm").contains("no path"))
      #expect(try ask("-X", "POST", base + "/nothing").contains("docs/api.md"))
      for wait in ["nan", "-1", "soon"] {
        #expect(
          try ask(base + "/jobs/1?wait=" + wait).contains("wait: expected seconds"), "\(wait)")
      }
      let long = String(repeating: "n", count: 101)
      #expect(try ask("-d", "d/1000.bin", base + "/order/" + long).contains("at most 100 bytes"))
      #expect(try ask(base + "/stats").contains(#""prefetch.warmedFiles" : 300"#))
      try rig.mount.unmount()
    }
  }
}

import Glibc
import TestSupport
import Testing

extension MountTests {
  /// What the disk keeps: over an unmount, a kill, two daemons, and damage.
  @Suite struct Cache {
    @Test(arguments: [Backend.seaweedfs, .nginx])
    func aSecondReadingAfterARemountMakesNoGetAtAll(_ backend: Backend) throws {
      let served = try backend.serve()
      let cache = try served.scratch.folder("cache")
      let first = try served.mount(cache: cache)
      try Readers.compare(served.tree, first.path)
      try first.unmount()
      let before = served.requests().filter(\.isGet).count
      #expect(before > 0)

      let second = try served.mount(cache: cache)
      try Readers.compare(served.tree, second.path, readers: 4)
      #expect(try second.stats().number("bytesFetched") == 0)
      try second.unmount()
      // The server's log is the witness. Listings are allowed, and the byte that the mount's check reads.
      let after = served.requests().filter(\.isGet)
      #expect(
        after.count <= before + MountedMillrace.checkGets,
        "GETs after the remount: \(after.dropFirst(before))")
    }

    @Test(arguments: [Backend.seaweedfs, .nginx])
    func afterAKillInTheMiddleOfFetchesEveryByteIsRight(_ backend: Backend) throws {
      // 8 MB/s a response: the large files take seconds, and the kill falls among them.
      let served = try backend.serve(rate: 8 << 20)
      let cache = try served.scratch.folder("cache")
      for round in 0..<3 {
        let mount = try served.mount(cache: cache)
        let fetchedBefore = served.requests().count
        let reader = try ChildProcess(
          Readers.tool("compare", served.tree, mount.path, "read", "4", String(round)),
          streams: ChildProcess.Streams(
            output: served.scratch.path("reader"), errors: served.scratch.path("reader")))
        let begun = waitFor(within: .seconds(30)) { () -> Bool? in
          reader.poll() != nil || served.requests().count > fetchedBefore + 3 + round * 10
            ? true : nil
        }
        #expect(begun == true)
        mount.kill9()
        reader.end(SIGKILL)
        mount.detach()
      }
      let mount = try served.mount(cache: cache)
      try Readers.compare(served.tree, mount.path, readers: 4)
      #expect(try mount.stats().number("corruptBlocks") == 0)
      try mount.unmount()
    }

    @Test func aDamagedCacheFileIsFetchedAgainAndNeverSeen() throws {
      let served = try Backend.seaweedfs.serve()
      let cache = try served.scratch.folder("cache")
      let first = try served.mount(cache: cache)
      try Readers.compare(served.tree, first.path)
      first.kill9()
      first.detach()
      // One byte in each file of some size is turned. The trust that a boot gives is forfeited with
      // the boot's name, which is what a restart of the machine looks like.
      try CommandResult.check([
        "/usr/bin/python3", Checkout.tools + "/damage.py", cache,
      ])
      let second = try served.mount(cache: cache)
      try Readers.compare(served.tree, second.path, readers: 4)
      #expect(try second.stats().number("corruptBlocks") > 0)
      try second.unmount()
    }

    @Test func twoDaemonsOnOneCacheFolderAreBothRight() throws {
      let served = try Backend.seaweedfs.serve()
      let cache = try served.scratch.folder("cache")
      let one = try served.mount(cache: cache)
      let two = try served.mount(cache: cache)
      let both = [one, two].map { mount in
        Result {
          try ChildProcess(
            Readers.tool("compare", served.tree, mount.path, "pread", "4", "5"),
            streams: ChildProcess.Streams(
              output: mount.path + "/../said", errors: mount.path + "/../said"))
        }
      }
      for (reader, mount) in zip(both, [one, two]) {
        let ending = try reader.get().wait(within: .seconds(240))
        #expect(ending == .exited(0), "\((try? readText(mount.path + "/../said")) ?? "")")
      }
      try one.unmount()
      try Readers.compare(served.tree, two.path)
      try two.unmount()
    }

    @Test func theCacheKeepsItsLimitAndEveryByteIsStillRight() throws {
      let served = try Backend.seaweedfs.serve()
      let cache = try served.scratch.folder("cache")
      // Memory holds less than the data: a file that found no space on disk is read again.
      let mount = try served.mount(
        cache: cache,
        options: ["--eviction", "lru", "--cache-size", "12M", "--memory-limit", "16M"])
      // A disk that is slow to write evicts late.
      var round = 0
      while try round < 3 || (round < 30 && mount.stats().number("evictedFiles") == 0) {
        try Readers.compare(served.tree, mount.path, readers: 4, seed: UInt64(round))
        round += 1
      }
      let used = try CommandResult.check(["du", "-s", "-B1", cache]).output
      #expect(Int(used.prefix(while: \.isNumber)) ?? .max <= 14 << 20)
      #expect(try mount.stats().number("evictedFiles") > 0)
      try mount.unmount()
    }

    @Test func sixteenReadersOfFourGiBStayWithinTheMemoryLimit() throws {
      let scratch = try TemporaryFolder("memory")
      let folder = try scratch.folder("tree")
      // Sparse: 4 GiB from the store's page of zeros. Each reader reads a share of its own.
      for index in 0..<16 { try scratch.sparseFile("tree/\(index).bin", size: 256 << 20) }
      let server = try Nginx.start(root: folder)
      let mount = try MountedMillrace(
        server.url + "/", cache: scratch.folder("cache"),
        options: ["--memory-limit", "256M", "--cache-size", "1G"])
      try CommandResult.check(
        Readers.tool("share", mount.path, "16"), within: .seconds(400))
      let peak = try mount.peakResidentBytes()
      print("peak resident: \(peak >> 20) MiB")
      #expect(peak < (256 + 64) << 20)
      try mount.unmount()
    }
  }
}

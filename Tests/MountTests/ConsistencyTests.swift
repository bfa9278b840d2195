import Glibc
import TestSupport
import Testing

extension MountTests {
  /// An object that changes in the store: one version from open to close, the new one after the TTL.
  @Suite struct Consistency {
    private static let size = 24 << 20

    @Test(arguments: [Backend.seaweedfs, .rclone, .moto])
    func anObjectOverwrittenWhileOpenIsOneVersionOrStale(_ backend: Backend) throws {
      // Slow enough that half of it is unread when it changes.
      let served = try backend.serve(rate: 16 << 20) { scratch in
        try scratch.file("tree/file.bin", seededBytes(Self.size, seed: 1))
        return scratch.path("tree")
      }
      let s3 = try #require(served.s3)
      for round in 0..<2 {
        let new = try served.scratch.file("new", seededBytes(Self.size, seed: UInt64(2 + round)))
        let sums = try [s3.get(served.bucket, key: "in/file.bin"), readFile(new)].map { bytes in
          try sha256(served.scratch.file("sum", bytes))
        }
        let mount = try served.mount(
          cache: served.scratch.folder("cache-\(round)"), options: ["--metadata-ttl", "1s"])
        let file = mount.path + "/file.bin"
        let go = served.scratch.path("go-\(round)")
        let done = served.scratch.path("done-\(round)")
        let said = served.scratch.path("said-\(round)")
        let reader = try ChildProcess(
          Readers.tool("watch", file, sums[0], sums[1], go, done),
          streams: ChildProcess.Streams(output: said, errors: said))
        try #require(waitFor(within: .seconds(60)) { fileExists(go) ? true : nil } == true)
        try s3.putFile(new, to: served.bucket, key: "in/file.bin".utf8)
        try writeFile(done, [])
        #expect(reader.wait(within: .seconds(120)) == .exited(0))
        let seen = try readText(said).filter { !$0.isWhitespace }
        #expect(seen == "old" || seen == "stale", "the reader saw \(seen)")

        // Once the TTL is over a new open is of the new version.
        let fresh = waitFor(within: .seconds(20), every: 200_000) { () -> Bool? in
          (try? sha256(file)) == sums[1] ? true : nil
        }
        #expect(fresh == true, "the new version was not seen")
        try mount.unmount()
      }
    }

    @Test func aNewAndARemovedObjectAreSeenAfterTheTTL() throws {
      let served = try Backend.seaweedfs.serve { scratch in
        try scratch.file("tree/a/old.txt", text: "old")
        try scratch.file("tree/a/stays.txt", text: "stays")
        return scratch.path("tree")
      }
      let s3 = try #require(served.s3)
      let mount = try served.mount(options: ["--metadata-ttl", "1s"])
      #expect(try namesIn(mount.path + "/a").count == 2)
      #expect(!fileExists(mount.path + "/a/new.txt"))
      try s3.put("new".utf8, to: served.bucket, key: "in/a/new.txt")
      try s3.delete(served.bucket, key: "in/a/old.txt")
      let seen = waitFor(within: .seconds(20), every: 200_000) { () -> Bool? in
        (try? readText(mount.path + "/a/new.txt")) == "new"
          && !fileExists(mount.path + "/a/old.txt") ? true : nil
      }
      #expect(seen == true)
      #expect(
        try namesIn(mount.path + "/a") == [Array("new.txt".utf8), Array("stays.txt".utf8)])
      try mount.unmount()
    }
  }
}

func sha256(_ path: String) throws -> String {
  String(try CommandResult.check(["sha256sum", path], within: .seconds(120)).output.prefix(64))
}

import Foundation
import Glibc
import Posix
import TestSupport
import Testing

extension MountTests {
  /// Reads that the kernel answers from the cache file by itself, and the states in between.
  @Suite(.enabled(if: requireOrSkip(.passthrough))) struct Passthrough {
    private static let size = 3 << 20

    private func serve(_ names: [String]) throws -> Served {
      try Backend.folder.serve { scratch in
        for (index, name) in names.enumerated() {
          try scratch.file("tree/\(name)", seededBytes(Self.size, seed: UInt64(index)))
        }
        return scratch.path("tree")
      }
    }

    private func opens(_ mount: MountedMillrace) throws -> Int {
      try mount.stats().number("passthroughOpens")
    }

    /// What the daemon's descriptors are; an unlinked file's name ends in " (deleted)".
    private func openFiles(of mount: MountedMillrace) throws -> [String] {
      let folder = "/proc/\(try mount.stats().number("pid"))/fd"
      let names = try FileManager.default.contentsOfDirectory(atPath: folder).compactMap {
        try? FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/\($0)")
      }
      try #require(names.contains("/dev/fuse"), "not the daemon's: \(names)")
      return names
    }

    /// Opens the file until the kernel serves it: its last piece may still be on its way to disk.
    private func untilPassedThrough(_ mount: MountedMillrace, _ name: String) throws {
      let before = try opens(mount)
      let isThere = waitFor(within: .seconds(20)) { () -> Bool? in
        _ = try? readFile(mount.path + "/" + name)
        return (try? opens(mount)).map { $0 > before } == true ? true : nil
      }
      try #require(isThere == true)
    }

    @Test func aFileThatIsWholeOnDiskIsReadByTheKernel() throws {
      let served = try serve(["a"])
      let mount = try served.mount()
      #expect(try readFile(mount.path + "/a") == seededBytes(Self.size, seed: 0))
      try untilPassedThrough(mount, "a")
      let reads = try mount.stats().number("fuse.reads")
      #expect(try readFile(mount.path + "/a") == seededBytes(Self.size, seed: 0))
      #expect(try mount.stats().number("fuse.reads") == reads)
      try mount.unmount()
    }

    @Test func afterARemountTheFirstOpenIsPassedThroughAlready() throws {
      let served = try serve(["a"])
      let cache = try served.scratch.folder("cache")
      let first = try served.mount(cache: cache)
      #expect(try readFile(first.path + "/a") == seededBytes(Self.size, seed: 0))
      try first.unmount()
      let second = try served.mount(cache: cache)
      #expect(try readFile(second.path + "/a") == seededBytes(Self.size, seed: 0))
      #expect(try opens(second) == 1)
      #expect(try second.stats().number("fuse.reads") == 0)
      try second.unmount()
    }

    @Test func anInodeKeepsItsModeAsLongAsItIsOpen() throws {
      let served = try serve(["a"])
      let mount = try served.mount()
      let early = open(mount.path + "/a", O_RDONLY | O_CLOEXEC)
      #expect(early >= 0)
      #expect(try readFile(mount.path + "/a") == seededBytes(Self.size, seed: 0))
      let isOnDisk = waitFor(within: .seconds(20)) { () -> Bool? in
        (try? mount.stats().number("bytesWritten")) == Self.size ? true : nil
      }
      #expect(isOnDisk == true)
      // Whole by now, but the first open of the inode lives on.
      #expect(try readFile(mount.path + "/a") == seededBytes(Self.size, seed: 0))
      #expect(try opens(mount) == 0)
      var bytes = [UInt8](repeating: 0, count: 1000)
      #expect(pread(early, &bytes, 1000, 2 << 20) == 1000)
      #expect(bytes == Array(seededBytes(Self.size, seed: 0)[(2 << 20)..<((2 << 20) + 1000)]))
      close(early)
      try untilPassedThrough(mount, "a")
      try mount.unmount()
    }

    @Test func aMappingOutlivesTheEvictionOfItsFile() throws {
      let names = (0..<12).map { "f\($0)" }
      let served = try serve(names)
      let mount = try served.mount(options: ["--eviction", "lru", "--cache-size", "12M"])
      try untilPassedThrough(mount, "f0")
      let file = open(mount.path + "/f0", O_RDONLY | O_CLOEXEC)
      let mapping = mmap(nil, Self.size, PROT_READ, MAP_SHARED, file, 0)
      close(file)
      let bytes = try #require(mapping != MAP_FAILED ? mapping : nil)
      defer { munmap(bytes, Self.size) }
      // A file that finds no space, because the others are still kept open, is written when it is read again.
      let isEvicted = try waitFor(within: .seconds(60)) { () throws -> Bool? in
        for (index, name) in names.enumerated().dropFirst() {
          #expect(
            try readFile(mount.path + "/" + name) == seededBytes(Self.size, seed: UInt64(index)))
        }
        return try mount.stats().number("evictedFiles") > 0 ? true : nil
      }
      #expect(isEvicted == true)
      #expect(
        UnsafeRawBufferPointer(start: bytes, count: Self.size)
          .elementsEqual(seededBytes(Self.size, seed: 0)))
    }

    /// The kept id would keep the space of an unlinked file: it is given back before.
    @Test func whatIsKeptOpenMakesWayForNewFiles() throws {
      let names = (0..<12).map { "f\($0)" }
      let served = try serve(names)
      let mount = try served.mount(options: ["--eviction", "lru", "--cache-size", "12M"])
      for name in names { try untilPassedThrough(mount, name) }
      let stats = try mount.stats()
      #expect(try stats.number("evictedFiles") >= names.count - 4)
      #expect(try stats.number("cachedOpenFiles") <= 4)
      // A file that is being let go of is unlinked and closed a moment later.
      let isSettled = try waitFor(within: .seconds(20)) { () -> Bool? in
        let open = try openFiles(of: mount).filter { $0.contains("/objects/") }
        return open.count <= 2 * 4 && !open.contains { $0.hasSuffix(" (deleted)") } ? true : nil
      }
      #expect(isSettled == true)
      try mount.unmount()
    }

    @Test func aSecondOpenUsesTheIdOfTheFirst() throws {
      let served = try serve(["a"])
      let mount = try served.mount()
      try untilPassedThrough(mount, "a")
      #expect(try mount.stats().number("cachedOpenFiles") == 1)
      for _ in 0..<3 {
        #expect(try readFile(mount.path + "/a") == seededBytes(Self.size, seed: 0))
        let isKept = waitFor(within: .seconds(20)) { () -> Bool? in
          (try? mount.stats().number("cachedOpenFiles")) == 1 ? true : nil
        }
        #expect(isKept == true)
      }
      try mount.unmount()
    }

    @Test func aChangedObjectIsAnotherFileAndTheOldOneStaysWholeForItsReader() throws {
      let served = try serve(["a"])
      let mount = try served.mount(options: ["--metadata-ttl", "1s"])
      try untilPassedThrough(mount, "a")
      let old = open(mount.path + "/a", O_RDONLY | O_CLOEXEC)
      defer { close(old) }
      try writeFile(served.tree + "/a", seededBytes(Self.size + 5, seed: 9))
      let isSeen = waitFor(within: .seconds(20)) { () -> Bool? in
        (try? readFile(mount.path + "/a")) == seededBytes(Self.size + 5, seed: 9) ? true : nil
      }
      #expect(isSeen == true)
      var bytes = [UInt8](repeating: 0, count: Self.size)
      #expect(pread(old, &bytes, bytes.count, 0) == bytes.count)
      #expect(bytes == seededBytes(Self.size, seed: 0))
      try untilPassedThrough(mount, "a")
    }

    @Test func withoutItTheMountWorksAndSaysWhy() throws {
      let served = try serve(["a"])
      let mount = try served.mount(options: ["--no-passthrough"])
      for _ in 0..<3 {
        #expect(try readFile(mount.path + "/a") == seededBytes(Self.size, seed: 0))
      }
      #expect(try opens(mount) == 0)
      #expect(try mount.stats().json.contains("off: not requested"))
      try mount.unmount()
    }

    @Test(arguments: Readers.Mode.allCases)
    func thePlainPathReadsTheSameFromDisk(_ mode: Readers.Mode) throws {
      let served = try Backend.folder.serve()
      let cache = try served.scratch.folder("cache")
      for round in 0..<2 {
        let mount = try served.mount(cache: cache, options: ["--no-passthrough"])
        try Readers.compare(served.tree, mount.path, mode: mode, readers: 4)
        if round == 1 { #expect(try mount.stats().number("bytesFetched") == 0) }
        try mount.unmount()
      }
    }
  }
}

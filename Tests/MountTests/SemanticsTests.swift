import CEngineShim
import Glibc
import Posix
import TestSupport
import Testing

// What glibc shows to _GNU_SOURCE alone.
private let seekData: CInt = 3
private let seekHole: CInt = 4
#if arch(arm64)
  private let openDirect: CInt = 0o200000
#else
  private let openDirect: CInt = 0o40000
#endif

extension MountTests {
  /// What docs/semantics.md promises of names and attributes and no other test shows.
  @Suite struct Semantics {
    private func status(_ path: String) throws -> stat {
      var found = stat()
      guard lstat(path, &found) == 0 else { throw SupportError("\(path): errno \(errno)") }
      return found
    }

    private func attribute(_ path: String, _ name: String) -> String? {
      var value = [UInt8](repeating: 0, count: 4096)
      let count = getxattr(path, "user.millrace.\(name)", &value, value.count)
      return count < 0 ? nil : String(decoding: value[..<count], as: UTF8.self)
    }

    @Test func attributesAreTheStoresAndTheOptions() throws {
      let moto = try MotoServer.start()
      let before = time(nil)
      try moto.endpoint.put("12345".utf8, to: "data", key: "d/file")
      let scratch = try TemporaryFolder("attributes")
      let mount = try MountedMillrace(
        "s3://data", cache: scratch.folder("cache"),
        options: ["--uid", "1234", "--gid", "567", "--file-mode", "0640", "--dir-mode", "0711"],
        environment: moto.endpoint.environment)
      let file = try status(mount.path + "/d/file")
      #expect(file.st_size == 5 && file.st_nlink == 1)
      #expect(file.st_mode == S_IFREG | 0o640 && file.st_uid == 1234 && file.st_gid == 567)
      #expect(file.st_mtim.tv_sec >= before - 5 && file.st_mtim.tv_sec <= time(nil) + 5)
      #expect(file.st_atim.tv_sec == file.st_mtim.tv_sec)
      #expect(file.st_ctim.tv_sec == file.st_mtim.tv_sec)
      let folder = try status(mount.path + "/d")
      #expect(folder.st_size == 0 && folder.st_nlink == 1 && folder.st_mode == S_IFDIR | 0o711)
      #expect(folder.st_mtim.tv_sec == (try status(mount.path)).st_mtim.tv_sec)
      #expect(try status(mount.path).st_ino == 1)
      #expect(attribute(mount.path + "/d/file", "key") == "d/file")
      #expect(attribute(mount.path + "/d/file", "etag")?.count == 34)
      #expect(attribute(mount.path + "/d", "key") == nil && errno == ENODATA)
      // The number is the path's, not the object's.
      try moto.endpoint.put("1234567".utf8, to: "data", key: "d/file")
      _ = try CommandResult.check([Checkout.millrace(), "update", mount.path])
      let changed = waitFor(within: .seconds(20)) { () -> stat? in
        (try? status(mount.path + "/d/file")).flatMap { $0.st_size == 7 ? $0 : nil }
      }
      #expect(changed?.st_ino == file.st_ino)
      try mount.unmount()
    }

    @Test func theStateOfAFileTellsWhereItsBytesAre() throws {
      let served = try Backend.folder.serve { scratch in
        try scratch.file("tree/large", seededBytes(8 << 20, seed: 1))
        try scratch.file("tree/small", text: "small")
        return scratch.path("tree")
      }
      let mount = try served.mount()
      #expect(attribute(mount.path + "/large", "state") == "store")
      let file = open(mount.path + "/large", O_RDONLY | O_CLOEXEC | openDirect)
      let buffer = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 4096)
      defer { buffer.deallocate() }
      #expect(pread(file, buffer, 4096, 5 << 20) == 4096)
      #expect(attribute(mount.path + "/large", "state") == "partial")
      close(file)
      _ = try readFile(mount.path + "/large")
      _ = try readText(mount.path + "/small")
      for name in ["large", "small"] {
        let onDisk = waitFor(within: .seconds(20)) { () -> Bool? in
          attribute(mount.path + "/" + name, "state") == "disk" ? true : nil
        }
        #expect(onDisk == true, "\(name)")
      }
      try mount.unmount()
      let alone = try served.mount(options: ["--cache-dir", "none"])
      _ = try readText(alone.path + "/small")
      #expect(attribute(alone.path + "/small", "state") == "memory")
      try alone.unmount()
    }

    @Test func anOpenFolderKeepsItsNamesAndItsPlaces() throws {
      let served = try Backend.folder.serve { scratch in
        for number in 0..<3000 { try scratch.file("tree/d/f\(number)", text: "") }
        return scratch.path("tree")
      }
      let mount = try served.mount(options: ["--metadata-ttl", "0"])
      let folder = try #require(opendir(mount.path + "/d"))
      func next() -> String? {
        readdir(folder).map { entry in
          withUnsafeBytes(of: &entry.pointee.d_name) {
            String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
          }
        }
      }
      var names: [String] = []
      var places: [Int] = []
      while true {
        places.append(telldir(folder))
        guard let name = next() else { break }
        names.append(name)
      }
      #expect(names.prefix(2) == [".", ".."])
      #expect(names.count == 3002 && Set(names).count == 3002)
      // What changes meanwhile does not show, and every place leads where it did.
      for number in 0..<1500 { unlink(served.tree + "/d/f\(number)") }
      try writeFile(served.tree + "/d/aaa", [])
      for index in [2999, 1, 0, 1700, 3001, 2] {
        seekdir(folder, places[index])
        #expect(next() == names[index])
      }
      rewinddir(folder)
      #expect((0..<3002).map { _ in next() } == names)
      #expect(next() == nil)
      closedir(folder)
      #expect(try namesIn(mount.path + "/d").count == 1501)
      try mount.unmount()
    }

    @Test func aLocalFolderShowsWhatLeadsSomewhere() throws {
      let served = try Backend.folder.serve { scratch in
        try scratch.file("tree/real", text: "real")
        try scratch.file("outside/file", text: "outside")
        _ = try scratch.folder("tree/empty")
        symlink("real", scratch.path("tree/link"))
        symlink("../outside", scratch.path("tree/out"))
        symlink("nowhere", scratch.path("tree/dead"))
        mkfifo(scratch.path("tree/pipe"), 0o600)
        return scratch.path("tree")
      }
      let plain = try served.mount()
      let shown = try namesIn(plain.path).map { String(decoding: $0, as: UTF8.self) }
      #expect(shown.sorted() == ["empty", "link", "real"])
      #expect(!fileExists(plain.path + "/out/file"))
      try plain.unmount()
      let mount = try served.mount(options: ["--follow-links"])
      let names = try namesIn(mount.path).map { String(decoding: $0, as: UTF8.self) }
      #expect(names.sorted() == ["empty", "link", "out", "real"])
      #expect(try readText(mount.path + "/link") == "real")
      #expect(try readText(mount.path + "/out/file") == "outside")
      #expect(try namesIn(mount.path + "/empty").isEmpty)
      #expect(!fileExists(mount.path + "/pipe") && !fileExists(mount.path + "/dead"))
      try mount.unmount()
      // Nor is what was kept of it shown without the option.
      let again = try served.mount()
      #expect(!fileExists(again.path + "/out/file") && fileExists(again.path + "/real"))
      try again.unmount()
    }

    @Test func aFolderIsWhatHasNamesOrIsMarked() throws {
      let moto = try MotoServer.start()
      try moto.endpoint.put(
        [("marked/", ""), ("has/name", "x")].map { (Array($0.utf8), Array($1.utf8)) }, to: "data")
      let scratch = try TemporaryFolder("folders")
      let mount = try MountedMillrace(
        "s3://data", cache: scratch.folder("cache"), options: ["--metadata-ttl", "0"],
        environment: moto.endpoint.environment)
      #expect(try namesIn(mount.path + "/marked").isEmpty)
      #expect(try status(mount.path + "/has").st_mode & S_IFMT == S_IFDIR)
      try moto.endpoint.delete("data", key: "has/name")
      var gone = stat()
      #expect(lstat(mount.path + "/has", &gone) == -1 && errno == ENOENT)
      #expect(lstat(mount.path + "/marked", &gone) == 0)
      try mount.unmount()
    }

    /// As fsx does for writes: places and lengths at random, by every way of reading, several at once.
    @Test(arguments: [[], ["--no-passthrough"], ["--cache-dir", "none"]])
    func randomReadsByEveryWayGiveTheFilesBytes(_ options: [String]) throws {
      let sizes = [1, 4095, 4096, 131_071, 131_073, 1_048_577, 5_000_001]
      let contents = sizes.enumerated().map { seededBytes($1, seed: UInt64($0)) }
      let served = try Backend.folder.serve { scratch in
        for (index, bytes) in contents.enumerated() { try scratch.file("tree/f\(index)", bytes) }
        return scratch.path("tree")
      }
      let mount = try served.mount(options: options)
      let seed = UInt64.random(in: 0 ... .max)
      print("random reads: seed \(seed)")
      let failures = Lock<[String]>([])
      for round in 0..<2 as Range<UInt64> {
        let readers = (0..<4 as Range<UInt64>).map { reader in
          Thread(named: "fsx-\(reader)") {
            var random = SeededGenerator(seed: seed &+ round &* 4 &+ reader)
            for _ in 0..<150 {
              let index = Int.random(in: 0..<sizes.count, using: &random)
              if let failure = Self.readSomehow(mount.path + "/f\(index)", contents[index], &random)
              {
                failures.withLock { $0.append(failure) }
              }
            }
          }
        }
        for reader in readers { reader.join() }
      }
      #expect(failures.withLock { $0 }.isEmpty, "seed \(seed)")
      try mount.unmount()
    }

    private static func readSomehow(
      _ path: String, _ content: [UInt8], _ random: inout SeededGenerator
    ) -> String? {
      let isDirect = Int.random(in: 0..<5, using: &random) == 0
      let file = open(path, O_RDONLY | O_CLOEXEC | (isDirect ? openDirect : 0))
      guard file >= 0 else { return "\(path): open: errno \(errno)" }
      defer { close(file) }
      var offset = Int.random(in: 0...content.count + 10, using: &random)
      var length = Int.random(in: 1...min(300_000, content.count + 10), using: &random)
      if isDirect {
        offset &= ~4095
        length = (length + 4095) & ~4095
      }
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: length, alignment: 4096)
      defer { buffer.deallocate() }
      let expected = content[min(offset, content.count)..<min(offset + length, content.count)]
      var count = 0
      switch isDirect ? 0 : Int.random(in: 0..<4, using: &random) {
      case 0: count = pread(file, buffer.baseAddress, length, offset)
      case 1:
        lseek(file, offset, SEEK_SET)
        count = Glibc.read(file, buffer.baseAddress, length)
      case 2:
        let half = length / 2
        var parts = [
          iovec(iov_base: buffer.baseAddress, iov_len: half),
          iovec(iov_base: buffer.baseAddress! + half, iov_len: length - half),
        ]
        count = preadv(file, &parts, 2, offset)
      default:
        let whole = mmap(nil, content.count, PROT_READ, MAP_SHARED, file, 0)
        guard let whole, whole != MAP_FAILED else { return "\(path): mmap: errno \(errno)" }
        memcpy(buffer.baseAddress!, whole + expected.startIndex, expected.count)
        munmap(whole, content.count)
        count = expected.count
      }
      guard count == expected.count, buffer[..<count].elementsEqual(expected) else {
        return "\(path): \(count) of \(expected.count) bytes at \(offset), errno \(errno)"
      }
      return nil
    }

    @Test func seeksAndModesOfOpeningAreThoseOfAReadOnlyFile() throws {
      let served = try Backend.folder.serve { scratch in
        try scratch.file("tree/d/f", seededBytes(10_000, seed: 1))
        return scratch.path("tree")
      }
      let mount = try served.mount()
      let path = mount.path + "/d/f"
      let file = open(path, O_RDONLY | O_CLOEXEC)
      #expect(lseek(file, 0, SEEK_END) == 10_000)
      #expect(lseek(file, 0, seekData) == 0)
      #expect(lseek(file, 0, seekHole) == 10_000)
      #expect(lseek(file, 10_000, seekData) == -1 && errno == ENXIO)
      #expect(lseek(file, -1, SEEK_SET) == -1 && errno == EINVAL)
      #expect(ftruncate(file, 0) == -1 && errno == EINVAL)
      #expect(write(file, "x", 1) == -1 && errno == EBADF)
      #expect(open(mount.path + "/d", O_WRONLY) == -1 && errno == EISDIR)
      #expect(open(path, O_RDONLY | O_DIRECTORY) == -1 && errno == ENOTDIR)
      #expect(open(path, O_CREAT | O_EXCL | O_RDONLY, 0o600) == -1 && errno == EEXIST)
      #expect(open(mount.path + "/d/none", O_RDONLY) == -1 && errno == ENOENT)
      #expect(open(path + "/below", O_RDONLY) == -1 && errno == ENOTDIR)
      #expect(opendir(path) == nil && errno == ENOTDIR)
      let deep = mount.path + String(repeating: "/d", count: 2048)
      #expect(open(deep, O_RDONLY) == -1 && errno == ENAMETOOLONG)
      var entry: UInt8 = 0
      let folder = open(mount.path + "/d", O_RDONLY | O_CLOEXEC)
      #expect(read(folder, &entry, 1) == -1 && errno == EISDIR)
      close(folder)
      close(file)
      try mount.unmount()
    }
  }
}

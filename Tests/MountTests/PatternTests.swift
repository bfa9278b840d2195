import Glibc
import LinkServer
import Posix
import TestSupport
import Testing

extension MountTests {
  /// What is fetched for what is read: a sequence once, a scattered read for itself, whoever reads.
  @Suite struct Patterns {
    /// One object of random bytes that follow from their position, behind a server that counts.
    private final class Rig {
      let scratch: TemporaryFolder
      let server: LinkServer
      let mount: MountedMillrace
      let size: Int
      var path: String { mount.path + "/object" }

      init(size: Int, link: Link = .loopback, options: [String] = []) throws {
        self.size = size
        scratch = try TemporaryFolder("pattern")
        server = try LinkServer(folder: scratch.folder("buckets"), link: link)
        server.addSynthetic(bucket: "data", key: "object", size: size)
        mount = try MountedMillrace(
          "s3://data", cache: scratch.folder("cache"),
          options: ["--endpoint-url", "http://127.0.0.1:\(server.port)", "--no-sign-request"]
            + options)
      }

      deinit { server.stop() }

      func end() throws { try mount.unmount() }

      /// Bytes that were fetched: as the store sent them, or, where a busy machine made the daemon hedge or retry,
      /// as the daemon counted them.
      func bytesFetched() throws -> Int {
        let stats = try mount.stats()
        return stats.sentTwice == 0 ? server.bytesSent : try stats.number("bytesFetched")
      }
    }

    private static let piece = 128 << 10

    /// Runs `body` on so many threads at once; its messages are failures.
    private func together(_ count: Int, _ body: @escaping @Sendable (Int) -> String?) {
      let troubles = Lock<[String]>([])
      let threads = (0..<count).map { index in
        Posix.Thread(named: "reader-\(index)") {
          if let trouble = body(index) { troubles.withLock { $0.append(trouble) } }
        }
      }
      for thread in threads { thread.join() }
      #expect(troubles.withLock { $0 } == [])
    }

    /// Scattered reads of 128 KiB, nowhere on a boundary; returns the pieces that they touch.
    private func scatter(over size: Int, seed: UInt64, count: Int) -> [Range<Int>] {
      var random = SeededGenerator(seed: seed)
      return (0..<count).map { _ in
        let start = Int.random(in: 0..<size - Self.piece, using: &random) | 1
        return start..<start + Self.piece
      }
    }

    private func distinctBytes(_ reads: [Range<Int>]) -> Int {
      var pieces: Set<Int> = []
      for read in reads {
        pieces.formUnion(read.lowerBound / Self.piece...(read.upperBound - 1) / Self.piece)
      }
      return pieces.count * Self.piece
    }

    @Test(arguments: [false, true])
    func scatteredReadsFetchTheirOwnPieces(byMapping: Bool) throws {
      let rig = try Rig(size: 5 << 30)
      let path = rig.path
      let size = rig.size
      let plans = (0..<8).map { scatter(over: size, seed: UInt64($0), count: 40) }
      together(8) { index in
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return "open: \(errno)" }
        defer { close(file) }
        let map =
          byMapping ? mmap(nil, size, PROT_READ, MAP_SHARED, file, 0) : MAP_FAILED
        defer { if byMapping { munmap(map, size) } }
        if byMapping { madvise(map, size, MADV_RANDOM) }
        var buffer = [UInt8](repeating: 0, count: Self.piece)
        for read in plans[index] {
          if byMapping {
            buffer.withUnsafeMutableBytes { target in
              target.copyMemory(
                from: UnsafeRawBufferPointer(
                  start: map! + read.lowerBound, count: read.count))
            }
          } else if pread(file, &buffer, read.count, off_t(read.lowerBound)) != read.count {
            return "pread at \(read.lowerBound): \(errno)"
          }
          if buffer != SyntheticBytes.shared.bytes(read) { return "wrong bytes at \(read)" }
        }
        return nil
      }
      let touched = distinctBytes(plans.flatMap { $0 })
      #expect(rig.server.bytesSent >= touched / 2)
      #expect(Double(try rig.bytesFetched()) <= Double(touched) * 1.1)
      try rig.end()
    }

    @Test(arguments: [false, true])
    func fourReadersOfOneObjectFetchItOnce(direct: Bool) throws {
      let rig = try Rig(size: 512 << 20)
      let path = rig.path
      let size = rig.size
      together(4) { index in
        // O_DIRECT, which Swift's Glibc does not have: x86 and arm number it differently.
        let direct = direct ? Self.directFlag : 0
        let file = open(path, O_RDONLY | O_CLOEXEC | direct)
        guard file >= 0 else { return "open: \(errno)" }
        defer { close(file) }
        let block = 1 << 20
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: block, alignment: 4096)
        defer { buffer.deallocate() }
        for step in 0..<size / block {
          let offset = (index * (size / 4) + step * block) % size
          guard pread(file, buffer.baseAddress, block, off_t(offset)) == block else {
            return "pread at \(offset): \(errno)"
          }
          // Every byte would take a debug build minutes: one run of each block.
          let run = SyntheticBytes.shared.run(at: offset + 4096, limit: 4096)
          guard memcmp(buffer.baseAddress! + 4096, run.baseAddress!, run.count) == 0 else {
            return "wrong bytes at \(offset)"
          }
        }
        return nil
      }
      #expect(rig.server.bytesSent >= size)
      #expect(Double(try rig.bytesFetched()) <= Double(size) * 1.02)
      try rig.end()
    }

    #if arch(arm64)
      private static let directFlag: CInt = 0o200000
    #else
      private static let directFlag: CInt = 0o40000
    #endif

    @Test func twoReadersAtTwoPlacesOfOneDescriptorAreTwoSequences() throws {
      let rig = try Rig(size: 256 << 20)
      let file = open(rig.path, O_RDONLY | O_CLOEXEC)
      try #require(file >= 0)
      let half = rig.size / 2
      together(2) { index in
        let block = 256 << 10
        var buffer = [UInt8](repeating: 0, count: block)
        for step in 0..<half / block {
          let offset = index * half + step * block
          guard pread(file, &buffer, block, off_t(offset)) == block else { return "\(errno)" }
          let run = SyntheticBytes.shared.run(at: offset, limit: 4096)
          guard memcmp(&buffer, run.baseAddress!, run.count) == 0 else { return "at \(offset)" }
        }
        return nil
      }
      #expect(Double(try rig.bytesFetched()) <= Double(rig.size) * 1.02)
      // Sequences, and not a request a read.
      #expect(rig.server.gets < rig.size / (1 << 20))
      close(file)
      try rig.end()
    }

    @Test func whoLooksAtTheHeadOfAFileDoesNotDownloadIt() throws {
      let rig = try Rig(size: 5 << 30)
      try CommandResult.check(["head", "-c", "100000", rig.path], within: .seconds(30))
      // The kernel reads ahead by itself, and that looks like a sequence.
      #expect(try rig.bytesFetched() <= 8 << 20)
      try CommandResult.check(
        ["dd", "if=" + rig.path, "of=/dev/null", "bs=1M", "count=2", "status=none"])
      // Two MiB, what the kernel itself reads ahead, and eight times that.
      #expect(try rig.bytesFetched() <= 64 << 20)
      try rig.end()
    }

    @Test func theTailOfAnArchiveIsReadWithoutItsMiddle() throws {
      let rig = try Rig(size: 1 << 30)
      let size = rig.size
      let file = open(rig.path, O_RDONLY | O_CLOEXEC)
      try #require(file >= 0)
      // As zip readers do: the end of the directory, the directory, then a member.
      var buffer = [UInt8](repeating: 0, count: 300_000)
      for range in [size - 22..<size, size - 70_000..<size, 500_000_000..<500_300_000] {
        #expect(pread(file, &buffer, range.count, off_t(range.lowerBound)) == range.count)
        #expect(buffer.prefix(range.count).elementsEqual(SyntheticBytes.shared.bytes(range)))
      }
      #expect(try rig.bytesFetched() <= 3 << 20)
      close(file)
      try rig.end()
    }
  }
}

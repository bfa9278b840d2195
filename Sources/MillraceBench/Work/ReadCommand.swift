import ArgumentParser
import Glibc
import Posix
import TestSupport

/// The reader, a process of its own so that another user can run it. It reads according to its arguments
/// and prints what it took, "seconds bytes extra" on one line.
///
/// Plain system calls into one buffer a thread that is used again: it costs next to nothing beside what it
/// measures.
struct ReadCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "read", shouldDisplay: false)

  enum Mode: String, ExpressibleByArgument {
    /// Files whole, each once.
    case whole
    /// `--count` reads of `--size` a thread, at random places.
    case pread, mmap
    /// One file, each thread round it from a place of its own.
    case round
    /// The first byte of each file, one after another; `extra` is the median wait, seconds.
    case first
  }

  @Option var mode = Mode.whole
  @Option var threads = 1
  @Option var size = 1 << 20
  @Option var count = 0
  @Flag var direct = false
  @Argument(help: "Files; @FILE: a list of them.") var files: [String]

  func run() throws {
    let names = try files.flatMap { name in
      name.hasPrefix("@")
        ? try readText(String(name.dropFirst())).split(separator: "\n").map(String.init) : [name]
    }
    let tally = Lock((bytes: 0, waits: [Double](), trouble: String?.none))
    let next = Lock(0)
    let start = Instant.now
    let running = (0..<threads).map { index in
      Posix.Thread(named: "reader-\(index)") {
        do {
          let (bytes, waits) = try self.read(names, index, next)
          tally.withLock {
            $0.bytes += bytes
            $0.waits += waits
          }
        } catch { tally.withLock { $0.trouble = "\(error)" } }
      }
    }
    for thread in running { thread.join() }
    let seconds = (Instant.now - start).seconds
    let (bytes, waits, trouble) = tally.withLock { $0 }
    if let trouble { throw ValidationError(trouble) }
    let extra = waits.isEmpty ? 0 : waits.sorted()[waits.count / 2]
    print("\(seconds) \(bytes) \(extra)")
  }

  private func read(_ names: [String], _ index: Int, _ next: Lock<Int>) throws -> (Int, [Double]) {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 4096)
    defer { buffer.deallocate() }
    switch mode {
    case .whole: return (try whole(names, next, buffer), [])
    case .first: return try first(names, buffer)
    case .pread, .mmap: return (try scattered(names[0], index, buffer), [])
    case .round: return (try round(names[0], index, buffer), [])
    }
  }

  private func whole(
    _ names: [String], _ next: Lock<Int>, _ buffer: UnsafeMutableRawBufferPointer
  ) throws -> Int {
    var total = 0
    while true {
      let number = next.withLock { next in
        defer { next += 1 }
        return next
      }
      guard number < names.count else { return total }
      try withFile(names[number]) { file in
        while true {
          let count = Glibc.read(file, buffer.baseAddress, buffer.count)
          guard count >= 0 else { throw SupportError("read \(names[number]): errno \(errno)") }
          if count == 0 { return }
          total += count
        }
      }
    }
  }

  private func first(
    _ names: [String], _ buffer: UnsafeMutableRawBufferPointer
  ) throws -> (Int, [Double]) {
    var waits: [Double] = []
    for name in names {
      let start = Instant.now
      try withFile(name) { file in
        guard Glibc.read(file, buffer.baseAddress, 1) == 1 else {
          throw SupportError("read \(name): errno \(errno)")
        }
      }
      waits.append((Instant.now - start).seconds)
    }
    return (names.count, waits)
  }

  private func scattered(
    _ name: String, _ index: Int, _ buffer: UnsafeMutableRawBufferPointer
  ) throws -> Int {
    try withFile(name) { file in
      let length = Int(lseek(file, 0, SEEK_END))
      var map: UnsafeMutableRawPointer?
      if mode == .mmap {
        map = Glibc.mmap(nil, length, PROT_READ, MAP_SHARED, file, 0)
        madvise(map, length, MADV_RANDOM)
      }
      defer { if let map { munmap(map, length) } }
      for place in Scatter.places(reader: index, count: count, size: size, of: length) {
        if let map {
          memcpy(buffer.baseAddress!, map + place, size)
        } else if Glibc.pread(file, buffer.baseAddress, size, off_t(place)) != size {
          throw SupportError("read \(name) at \(place): errno \(errno)")
        }
      }
      return count * size
    }
  }

  private func round(
    _ name: String, _ index: Int, _ buffer: UnsafeMutableRawBufferPointer
  ) throws -> Int {
    try withFile(name) { file in
      let length = Int(lseek(file, 0, SEEK_END))
      var place = length / threads * index / size * size
      for _ in 0..<(length + size - 1) / size {
        let count = Glibc.pread(file, buffer.baseAddress, size, off_t(place))
        guard count > 0 else { throw SupportError("read \(name) at \(place): errno \(errno)") }
        place += count
        if place >= length { place = 0 }
      }
      return length
    }
  }

  private func withFile<Value>(_ name: String, _ body: (CInt) throws -> Value) throws -> Value {
    #if arch(arm64)
      let directFlag: CInt = 0o200000
    #else
      let directFlag: CInt = 0o40000
    #endif
    let file = open(name, O_RDONLY | O_CLOEXEC | (direct ? directFlag : 0))
    guard file >= 0 else { throw SupportError("open \(name): errno \(errno)") }
    defer { close(file) }
    return try body(file)
  }
}

/// Where scattered reads go: known to the reader and to who counts the pieces that they touch.
enum Scatter {
  static func places(reader: Int, count: Int, size: Int, of length: Int) -> [Int] {
    var random = SeededGenerator(seed: UInt64(reader + 1))
    return (0..<count).map { _ in
      let place = Int.random(in: 0..<max(1, length - size), using: &random)
      // Reads of a page are of a page; others lie on no boundary.
      return size <= 4096 ? place / 4096 * 4096 : place | 1
    }
  }

  /// Bytes of the distinct pieces of 128 KiB that they touch.
  static func touched(readers: Int, count: Int, size: Int, of length: Int) -> Int {
    let piece = 128 << 10
    var pieces: Set<Int> = []
    for reader in 0..<readers {
      for place in places(reader: reader, count: count, size: size, of: length) {
        pieces.formUnion(place / piece...(place + size - 1) / piece)
      }
    }
    return pieces.count * piece
  }
}

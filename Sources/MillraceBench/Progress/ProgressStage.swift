import Glibc
import Posix
import TestSupport

/// The store of one cell, its mounts and its readers. Files exist in name only: the store makes their bytes up.
final class ProgressStage {
  static let epochs = 2
  private static let readers = 4
  private static let block = 1 << 20

  private let cell: ProgressCell
  private let scratch: TemporaryFolder
  private let server: LinkProcess
  private let mounter: Mounter
  private var mounts = 0

  init(_ cell: ProgressCell, link: String) throws {
    self.cell = cell
    scratch = try TemporaryFolder("progress")
    try scratch.folder("buckets/data")
    server = try LinkProcess(
      link, folder: scratch.path("buckets"),
      synthetic: (0..<cell.files).map { "data/\(Self.name($0))=\(cell.size)" },
      log: scratch.path("link"))
    mounter = Mounter(tree: "", juice: nil, logs: scratch.path)
  }

  func end() { server.stop() }

  private static func name(_ file: Int) -> String { "d/\(padded(file, 5)).bin" }

  /// One mount with an empty cache, two epochs in another order each.
  func run(_ order: ProgressCell.Order, seed: UInt64) throws -> ProgressResult.Run {
    try Interruption.check()
    mounts += 1
    let cache = try scratch.folder("cache-\(mounts)")
    defer { removeTree(cache) }
    let place = try scratch.folder("mnt")
    var options = ["--cache-size", "\(cell.cache)"]
    if let memory = ProgressCell.memories[cell.memory] {
      options += ["--memory-limit", "\(memory)"]
    }
    let mount = try mounter.mount(
      .millrace, server: server, at: place, cache: cache, options: options)
    do {
      let result = try epochs(mount.path, order, seed: seed)
      try mount.unmount()
      return result
    } catch {
      try? mount.unmount()
      Mounts.detach(place)
      throw error
    }
  }

  private func epochs(
    _ mount: String, _ order: ProgressCell.Order, seed: UInt64
  ) throws -> ProgressResult.Run {
    var random = SeededGenerator(seed: seed)
    // One more than is read: the order of two epochs names the next one of the last, too.
    let orders = (0...Self.epochs).map { _ in (0..<cell.files).shuffled(using: &random) }
    try server.reset()
    var result = ProgressResult.Run(seconds: 0, fetched: 0, longestRead: 0)
    for epoch in 0..<Self.epochs {
      Machine.dropPageCache()
      let began = Instant.now
      if order != .none {
        let lines = order == .one ? orders[epoch] : orders[epoch] + orders[epoch + 1]
        try writeFile(
          mount + "/.millrace/order", lines.map { Self.name($0) + "\n" }.joined().utf8)
      }
      result.longestRead = max(result.longestRead, try read(orders[epoch], in: mount))
      result.seconds += (Instant.now - began).seconds
    }
    result.fetched = try server.statistics().bytes
    return result
  }

  /// All files of an epoch by several readers, each taking the next one. Returns the longest read, seconds.
  private func read(_ order: [Int], in mount: String) throws -> Double {
    let next = Lock(0)
    let outcome = Lock<(longest: Double, failure: String?)>((0, nil))
    let threads = (0..<Self.readers).map { reader in
      Posix.Thread(named: "reader-\(reader)") { [size = cell.size] in
        var longest = 0.0
        var failure: String?
        while failure == nil {
          let line = next.withLock { line in
            defer { line += 1 }
            return line
          }
          guard line < order.count else { break }
          let path = mount + "/" + Self.name(order[line])
          let seconds = Self.readWhole(path, size: size)
          if seconds == nil { failure = "\(path): \(String(cString: strerror(errno)))" }
          longest = max(longest, seconds ?? 0)
        }
        outcome.withLock { outcome in
          outcome.longest = max(outcome.longest, longest)
          outcome.failure = outcome.failure ?? failure
        }
      }
    }
    for thread in threads { thread.join() }
    let (longest, failure) = outcome.withLock { $0 }
    if let failure { throw SupportError("a read failed: \(failure)") }
    return longest
  }

  /// The longest wait of its reads, seconds; nil: one failed, or the file is short.
  private static func readWhole(_ path: String, size: Int) -> Double? {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    let buffer = UnsafeMutableRawPointer.allocate(byteCount: block, alignment: 4096)
    defer { buffer.deallocate() }
    var longest = 0.0
    var total = 0
    while true {
      let began = Instant.now
      let count = Glibc.read(file, buffer, block)
      longest = max(longest, (Instant.now - began).seconds)
      guard count >= 0 else { return nil }
      if count == 0 { return total == size ? longest : nil }
      total += count
    }
  }
}

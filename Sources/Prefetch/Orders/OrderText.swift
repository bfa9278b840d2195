/// The lines of an order: paths relative to the mount, one a line. Pure.
struct OrderText: Sendable {
  enum Failure: Error, Equatable {
    case tooManyLines
  }

  /// Paths of one order at most: an epoch of ImageNet-21k has 14 million, of which the first part is then given
  /// as an order and the rest as the next.
  static let lineLimit = 4 << 20
  /// Bytes of one order at most.
  static let byteLimit = 512 << 20

  private let bytes: [UInt8]
  private var lines: [(start: UInt32, count: UInt16)] = []

  /// `mountPoint`: taken off where a path begins with it. Empty lines and "./" are passed over, a carriage
  /// return before the line's end is not part of the path.
  init(_ bytes: [UInt8], mountPoint: String) throws(Failure) {
    self.bytes = bytes
    let mount = Array(mountPoint.utf8) + [UInt8(ascii: "/")]
    var start = 0
    while start < bytes.count {
      var end = start
      while end < bytes.count, bytes[end] != UInt8(ascii: "\n") { end += 1 }
      defer { start = end + 1 }
      var from = start
      var to = end
      if to > from, bytes[to - 1] == UInt8(ascii: "\r") { to -= 1 }
      if bytes[from..<to].starts(with: mount) { from += mount.count }
      while from < to, bytes[from] == UInt8(ascii: "/") { from += 1 }
      while to - from >= 2, bytes[from] == UInt8(ascii: "."), bytes[from + 1] == UInt8(ascii: "/") {
        from += 2
      }
      guard to > from, to - from <= Int(UInt16.max) else { continue }
      guard lines.count < Self.lineLimit else { throw .tooManyLines }
      lines.append((UInt32(from), UInt16(to - from)))
    }
  }

  var count: Int { lines.count }

  /// Memory of the text and of what an order in force knows of its lines, at most, bytes.
  var memory: Int {
    bytes.count + lines.capacity * MemoryLayout<(UInt32, UInt16)>.stride
      + lines.count * EpochOrder.bytesALine
  }

  subscript(index: Int) -> [UInt8] {
    let line = lines[index]
    return Array(bytes[Int(line.start)..<Int(line.start) + Int(line.count)])
  }
}

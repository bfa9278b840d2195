/// The content of objects that exist in name only: random bytes that follow from their position.
///
/// Piece p (of 128 KiB) is what lies in a table of random bytes from (p * 4104) mod 1 MiB on: every
/// piece differs from those near it, so a piece in the wrong place shows, and any range is sent from
/// where it lies in memory.
public struct SyntheticBytes: @unchecked Sendable {
  public static let piece = 128 << 10
  private static let span = 1 << 20
  private static let step = 4104
  private let table: UnsafeMutableRawBufferPointer

  /// Never freed: there is one a process.
  public static let shared = SyntheticBytes()

  private init() {
    table = .allocate(byteCount: Self.span + Self.piece, alignment: 4096)
    for word in 0..<table.count / 8 {
      // SplitMix64.
      var value = UInt64(word + 1) &* 0x9e37_79b9_7f4a_7c15
      value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
      value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
      value ^= value >> 31
      table.storeBytes(of: value.littleEndian, toByteOffset: word * 8, as: UInt64.self)
    }
  }

  /// The bytes from `offset` to the end of its piece, or `limit` of them.
  public func run(at offset: Int, limit: Int) -> UnsafeRawBufferPointer {
    let (piece, inside) = offset.quotientAndRemainder(dividingBy: Self.piece)
    let start = (piece &* Self.step) % Self.span + inside
    let count = min(limit, Self.piece - inside)
    return UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(table)[start..<start + count])
  }

  /// For tests: any range, copied.
  public func bytes(_ range: Range<Int>) -> [UInt8] {
    var bytes: [UInt8] = []
    while bytes.count < range.count {
      bytes += run(at: range.lowerBound + bytes.count, limit: range.count - bytes.count)
    }
    return bytes
  }
}

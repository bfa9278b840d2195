import Posix

/// How an object is cut up. One place for the numbers that everything else is a multiple of.
enum Geometry {
  /// The unit of presence, checksum and memory, bytes. Small, so that random reads fetch little
  /// besides what they need; peers over-read with 1 to 4 MiB.
  static let pieceSize = 128 << 10

  /// An object up to this size is fetched whole by its first read and stored as one file that is
  /// renamed into place when complete, bytes.
  static let smallObjectLimit: UInt64 = 1 << 20

  static func pieceCount(ofSize size: UInt64) -> Int {
    let unit = UInt64(pieceSize)
    return Int(size / unit + (size % unit > 0 ? 1 : 0))
  }

  static func start(ofPiece piece: Int) -> UInt64 { UInt64(piece) * UInt64(pieceSize) }

  /// Bytes of a piece; the last one of an object is short, and none comes after it.
  static func length(ofPiece piece: Int, size: UInt64) -> Int {
    Int(min(UInt64(pieceSize), size.subtractingSaturated(start(ofPiece: piece))))
  }

  static func pieces(covering range: Range<UInt64>) -> Range<Int> {
    guard !range.isEmpty else { return 0..<0 }
    return Int(range.lowerBound / UInt64(pieceSize))..<Int(
      (range.upperBound - 1) / UInt64(pieceSize)) + 1
  }

  static func bytes(ofPieces pieces: Range<Int>, size: UInt64) -> Range<UInt64> {
    start(ofPiece: pieces.lowerBound)..<min(start(ofPiece: pieces.upperBound), size)
  }
}

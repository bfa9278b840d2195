/// What the requests of a sequence ask for: no more than a connection's share of a young sequence's
/// window, so that all work on it at once; and towards the end of the object ever less, so that all
/// are done at once.
struct RequestSizes {
  var objectSize: UInt64
  /// Bytes that the sequence is worth reading ahead.
  var ahead: UInt64
  var link: LinkTerms

  /// Of those near the object's end, bytes.
  static let leastLast = 4 << 20

  /// Of any, bytes: what a connection brings while one waits for a first byte, or half of its time
  /// would be waiting.
  private var least: Int { max(1 << 20, Int(link.pipe) / max(1, link.connections)) }

  func pieces(at piece: Int) -> Int {
    let connections = max(1, link.connections)
    let share = max(least, Int(ahead) / connections)
    let left = Int(objectSize - min(Geometry.start(ofPiece: piece), objectSize))
    let last = max(Self.leastLast, left / connections)
    return max(1, min(link.range, share, last) / Geometry.pieceSize)
  }
}

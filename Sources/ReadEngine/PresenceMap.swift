/// Which pieces of an object are on disk, and which of those may be handed out unchecked.
///
/// Kept in segments that are loaded when first touched, so that opening a 50 TB object costs
/// nothing.
struct PresenceMap {
  static let piecesPerSegment = 4096

  struct Segment {
    var present = [UInt64](repeating: 0, count: piecesPerSegment / 64)
    var trusted = [UInt64](repeating: 0, count: piecesPerSegment / 64)
  }

  let pieceCount: Int
  private(set) var presentCount = 0
  private(set) var trustedCount = 0
  private var segments: [Segment?]

  /// `isEmpty`: nothing is on disk, no segment needs loading.
  init(pieceCount: Int, isEmpty: Bool) {
    self.pieceCount = pieceCount
    let count = (pieceCount + Self.piecesPerSegment - 1) / Self.piecesPerSegment
    segments = Array(repeating: isEmpty ? Segment() : nil, count: count)
  }

  /// Every piece is on disk and trusted. Known only once every segment was loaded.
  var isWholeAndTrusted: Bool { trustedCount == pieceCount }

  /// The segments that `pieces` touch and that are not loaded yet.
  func unloadedSegments(of pieces: Range<Int>) -> [Int] {
    guard !pieces.isEmpty else { return [] }
    let first = pieces.lowerBound / Self.piecesPerSegment
    let last = (pieces.upperBound - 1) / Self.piecesPerSegment
    return (first...last).filter { segments[$0] == nil }
  }

  mutating func load(_ segment: Segment, at index: Int) {
    segments[index] = segment
    presentCount += segment.present.reduce(0) { $0 + $1.nonzeroBitCount }
    trustedCount += segment.trusted.reduce(0) { $0 + $1.nonzeroBitCount }
  }

  func isPresent(_ piece: Int) -> Bool { bit(piece, \.present) }
  func isTrusted(_ piece: Int) -> Bool { bit(piece, \.trusted) }

  /// The piece was written, or read and found right, by this process.
  mutating func markTrusted(_ piece: Int) {
    let (index, word, mask) = Self.position(piece)
    var segment = segments[index] ?? Segment()
    if segment.present[word] & mask == 0 { presentCount += 1 }
    if segment.trusted[word] & mask == 0 { trustedCount += 1 }
    segments[index] = nil  // one reference, so that the change below copies nothing
    segment.present[word] |= mask
    segment.trusted[word] |= mask
    segments[index] = segment
  }

  mutating func drop(_ piece: Int) {
    let (index, word, mask) = Self.position(piece)
    guard var segment = segments[index] else { return }
    segments[index] = nil
    if segment.present[word] & mask != 0 { presentCount -= 1 }
    if segment.trusted[word] & mask != 0 { trustedCount -= 1 }
    segment.present[word] &= ~mask
    segment.trusted[word] &= ~mask
    segments[index] = segment
  }

  private func bit(_ piece: Int, _ words: KeyPath<Segment, [UInt64]>) -> Bool {
    let (index, word, mask) = Self.position(piece)
    guard let segment = segments[index] else { return false }
    return segment[keyPath: words][word] & mask != 0
  }

  private static func position(_ piece: Int) -> (segment: Int, word: Int, mask: UInt64) {
    let inSegment = piece % piecesPerSegment
    return (piece / piecesPerSegment, inSegment / 64, 1 << UInt64(inSegment % 64))
  }
}

/// Which pieces of an object are on disk, and which of those may be handed out unchecked.
///
/// Kept in segments that are read from the records of the cache file when first touched, so that opening a
/// 50 TB object costs nothing. Every question loads what it needs: a segment that was not read yet can
/// neither be taken for an empty one nor be written over by one.
struct PresenceMap {
  static let piecesPerSegment = 4096

  /// One bit a piece. Takes no memory while no piece of it is there.
  struct Segment {
    private(set) var present: [UInt64] = []
    private(set) var trusted: [UInt64] = []

    func isPresent(_ place: Int) -> Bool { Self.bit(place, present) }
    func isTrusted(_ place: Int) -> Bool { Self.bit(place, trusted) }
    var presentCount: Int { present.reduce(0) { $0 + $1.nonzeroBitCount } }
    var trustedCount: Int { trusted.reduce(0) { $0 + $1.nonzeroBitCount } }

    mutating func set(_ place: Int, isPresent: Bool, isTrusted: Bool) {
      if present.isEmpty {
        guard isPresent else { return }
        present = Array(repeating: 0, count: piecesPerSegment / 64)
        trusted = present
      }
      let mask: UInt64 = 1 << UInt64(place % 64)
      if isPresent { present[place / 64] |= mask } else { present[place / 64] &= ~mask }
      if isTrusted { trusted[place / 64] |= mask } else { trusted[place / 64] &= ~mask }
    }

    private static func bit(_ place: Int, _ words: [UInt64]) -> Bool {
      !words.isEmpty && words[place / 64] & 1 << UInt64(place % 64) != 0
    }
  }

  let pieceCount: Int
  /// Of the segments that were read so far; complete once each was.
  private(set) var presentCount = 0
  private(set) var trustedCount = 0
  private var segments: [Int: Segment] = [:]
  /// Where segments are read from; `nil`: nothing was on disk.
  private let records: (any PresenceRecords)?

  /// `records`: what is on disk already; `nil`: nothing.
  init(pieceCount: Int, records: (any PresenceRecords)? = nil) {
    self.pieceCount = pieceCount
    self.records = records
  }

  /// Every piece is on disk and trusted. Known only once every segment was read.
  var isWholeAndTrusted: Bool { trustedCount == pieceCount }

  mutating func isPresent(_ piece: Int) -> Bool {
    segment(of: piece).isPresent(piece % Self.piecesPerSegment)
  }

  mutating func isTrusted(_ piece: Int) -> Bool {
    segment(of: piece).isTrusted(piece % Self.piecesPerSegment)
  }

  /// The piece was written, or read and found right, by this process.
  mutating func markTrusted(_ piece: Int) { set(piece, isPresent: true) }

  mutating func drop(_ piece: Int) { set(piece, isPresent: false) }

  /// Reads every segment that may have a piece.
  mutating func loadAll() { _ = presentSegments() }

  /// Every piece is on disk by its record. Reads no further than the first segment that lacks one.
  mutating func isWhole() -> Bool {
    if presentCount == pieceCount { return true }
    return (0..<segmentCount).allSatisfy { index in
      let held = min(Self.piecesPerSegment, pieceCount - index * Self.piecesPerSegment)
      return segment(index).presentCount == held
    }
  }

  /// Some piece is on disk.
  mutating func hasAny() -> Bool { presentCount > 0 || !presentSegments().isEmpty }

  /// The pieces on disk, in order.
  mutating func presentPieces() -> [Int] {
    presentSegments().flatMap { index in
      let segment = segment(index)
      let first = index * Self.piecesPerSegment
      let end = min(first + Self.piecesPerSegment, pieceCount)
      return (first..<end).filter { segment.isPresent($0 - first) }
    }
  }

  private var segmentCount: Int {
    pieceCount / Self.piecesPerSegment + (pieceCount % Self.piecesPerSegment > 0 ? 1 : 0)
  }

  /// Those with a piece, in order, all read. What the records have no bytes for is passed over.
  private mutating func presentSegments() -> [Int] {
    if let records {
      var index = records.nextSegment(from: 0)
      while let next = index, next < segmentCount {
        _ = segment(next)
        index = records.nextSegment(from: next + 1)
      }
    }
    return segments.filter { $0.value.presentCount > 0 }.keys.sorted()
  }

  private mutating func segment(of piece: Int) -> Segment {
    precondition(0 <= piece && piece < pieceCount, "a block outside its object")
    return segment(piece / Self.piecesPerSegment)
  }

  /// A segment, read now if it was not before.
  private mutating func segment(_ index: Int) -> Segment {
    if let known = segments[index] { return known }
    guard let records else { return Segment() }
    let segment = records.segment(index)
    segments[index] = segment
    presentCount += segment.presentCount
    trustedCount += segment.trustedCount
    return segment
  }

  private mutating func set(_ piece: Int, isPresent: Bool) {
    let place = piece % Self.piecesPerSegment
    let was = segment(of: piece)
    presentCount += (isPresent ? 1 : 0) - (was.isPresent(place) ? 1 : 0)
    trustedCount += (isPresent ? 1 : 0) - (was.isTrusted(place) ? 1 : 0)
    change(piece, isPresent)
  }

  /// Apart from `set`, which holds a copy: with one reference the change copies nothing.
  private mutating func change(_ piece: Int, _ isPresent: Bool) {
    segments[piece / Self.piecesPerSegment, default: Segment()].set(
      piece % Self.piecesPerSegment, isPresent: isPresent, isTrusted: isPresent)
  }
}

/// What a cache file has recorded of its pieces.
protocol PresenceRecords: Sendable {
  func segment(_ index: Int) -> PresenceMap.Segment
  /// The first segment from `index` on that may have a piece; `nil`: none has.
  func nextSegment(from index: Int) -> Int?
}

/// Which pieces of an object are on disk, and which of those may be handed out unchecked.
///
/// Kept in segments. Where a copy on disk has records, a segment of them is not known until it was read and handed in
/// by `load`, so that opening a 50 TB object costs nothing. A value: it reads nothing itself. What changes in a
/// segment that is not known yet is kept, and holds against what is read later.
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
  /// Of the segments that are known so far; complete once each is.
  private(set) var presentCount = 0
  private(set) var trustedCount = 0
  private var segments: [Int: Segment] = [:]
  /// There may be records in segments that are not known.
  private var hasUnknown: Bool
  /// What was written or dropped in segments that are not known.
  private var changes: [Int: [Int: Bool]] = [:]

  /// `isRecorded`: there are records on disk, of which nothing is known yet.
  init(pieceCount: Int, isRecorded: Bool = false) {
    self.pieceCount = pieceCount
    hasUnknown = isRecorded
  }

  // MARK: What is known

  /// Every piece is on disk and trusted. Known only once every segment is.
  var isWholeAndTrusted: Bool { trustedCount == pieceCount }

  /// Whether anything can be said of the piece.
  func isKnown(_ piece: Int) -> Bool { !hasUnknown || isKnown(segment: Self.segment(of: piece)) }

  func isKnown(segment: Int) -> Bool { segments[segment] != nil }

  /// No segment is left to be read.
  var isAllKnown: Bool { !hasUnknown }

  /// Segments of `pieces` that are to be read before anything can be said of all of them.
  func unknownSegments(of pieces: Range<Int>) -> [Int] {
    guard hasUnknown, !pieces.isEmpty else { return [] }
    return (Self.segment(of: pieces.lowerBound)...Self.segment(of: pieces.upperBound - 1))
      .filter { !isKnown(segment: $0) }
  }

  /// On disk, as far as is known.
  func isPresent(_ piece: Int) -> Bool {
    check(piece)
    return segments[Self.segment(of: piece)]?.isPresent(piece % Self.piecesPerSegment) ?? false
  }

  /// On disk and right, as far as is known.
  func isTrusted(_ piece: Int) -> Bool {
    check(piece)
    return segments[Self.segment(of: piece)]?.isTrusted(piece % Self.piecesPerSegment) ?? false
  }

  /// Whether every piece is on disk by its record. Needs no further segment than the first that lacks one.
  var wholeness: Wholeness {
    if presentCount == pieceCount { return .whole }
    for index in 0..<segmentCount {
      guard let segment = segments[index] else {
        return hasUnknown ? .unknown(segment: index) : .partial
      }
      if segment.presentCount < pieces(of: index).count { return .partial }
    }
    return .whole
  }

  enum Wholeness: Equatable {
    case whole
    case partial
    /// This segment is to be read first.
    case unknown(segment: Int)
  }

  /// The pieces that are known to be on disk, in order.
  var presentPieces: [Int] {
    segments.filter { $0.value.presentCount > 0 }.keys.sorted().flatMap { index in
      let segment = segments[index]!
      return pieces(of: index).filter { segment.isPresent($0 % Self.piecesPerSegment) }
    }
  }

  // MARK: Changes

  /// The records of a segment were read. What was changed meanwhile stays as it is.
  mutating func load(_ index: Int, _ recorded: Segment) {
    guard hasUnknown, (0..<segmentCount).contains(index), !isKnown(segment: index) else { return }
    var segment = recorded
    for (place, isPresent) in changes.removeValue(forKey: index) ?? [:] {
      segment.set(place, isPresent: isPresent, isTrusted: isPresent)
    }
    segments[index] = segment
    presentCount += segment.presentCount
    trustedCount += segment.trustedCount
  }

  /// Every segment with a record was handed in: the others have none.
  mutating func completeLoading() {
    for index in changes.keys { load(index, Segment()) }
    hasUnknown = false
  }

  /// The piece was written, or read and found right, by this process.
  mutating func markTrusted(_ piece: Int) { set(piece, isPresent: true) }

  mutating func drop(_ piece: Int) { set(piece, isPresent: false) }

  private mutating func set(_ piece: Int, isPresent: Bool) {
    check(piece)
    let place = piece % Self.piecesPerSegment
    let index = Self.segment(of: piece)
    guard !hasUnknown || isKnown(segment: index) else {
      changes[index, default: [:]][place] = isPresent
      return
    }
    presentCount += (isPresent ? 1 : 0) - (self.isPresent(piece) ? 1 : 0)
    trustedCount += (isPresent ? 1 : 0) - (isTrusted(piece) ? 1 : 0)
    segments[index, default: Segment()].set(place, isPresent: isPresent, isTrusted: isPresent)
  }

  // MARK: Places

  static func segment(of piece: Int) -> Int { piece / piecesPerSegment }

  private var segmentCount: Int {
    pieceCount / Self.piecesPerSegment + (pieceCount % Self.piecesPerSegment > 0 ? 1 : 0)
  }

  private func pieces(of segment: Int) -> Range<Int> {
    let first = segment * Self.piecesPerSegment
    return first..<min(first + Self.piecesPerSegment, pieceCount)
  }

  private func check(_ piece: Int) {
    precondition(0 <= piece && piece < pieceCount, "a block outside its object")
  }
}

/// What a cache file has recorded of its pieces.
protocol PresenceRecords: Sendable {
  func segment(_ index: Int) -> PresenceMap.Segment
  /// The first segment from `index` on that may have a piece; `nil`: none has.
  func nextSegment(from index: Int) -> Int?
}

/// Segments that were read, to be handed to the map under its owner's lock.
struct LoadedSegments {
  var segments: [(index: Int, segment: PresenceMap.Segment)] = []
  /// These are all that have a piece.
  var isComplete = false
}

extension PresenceRecords {
  /// Reads every segment that may have a piece and that `map` does not know. Waits for the disk.
  func loadAll(for map: PresenceMap? = nil) -> LoadedSegments {
    var loaded = LoadedSegments(isComplete: true)
    var index = nextSegment(from: 0)
    while let next = index {
      if map?.isKnown(segment: next) != true { loaded.segments.append((next, segment(next))) }
      index = nextSegment(from: next + 1)
    }
    return loaded
  }

  /// Reads these segments. Waits for the disk.
  func load(_ indices: [Int]) -> LoadedSegments {
    LoadedSegments(segments: indices.map { ($0, segment($0)) })
  }
}

extension PresenceMap {
  mutating func load(_ loaded: LoadedSegments) {
    for (index, segment) in loaded.segments { load(index, segment) }
    if loaded.isComplete { completeLoading() }
  }
}

/// What an object knows of one fetch of it that is queued or in flight.
struct FetchRecord {
  let id: FetchID
  /// What it will bring. Cut down to what is needed when memory is short.
  fileprivate(set) var pieces: Range<Int>
  /// The bytes of `pieces` before they were cut down. Waiters for any of them are woken when the fetch ends.
  let planned: Range<UInt64>
  let rank: FetchRank
  /// A prefetch wants it, and not a reader.
  let isPrefetch: Bool
  fileprivate(set) var hasBegun = false
  fileprivate(set) var filledTo: UInt64
  fileprivate(set) var end: UInt64
  /// The disk has given its range its blocks, or was asked to.
  var isAllocated = false
  /// The least position at which a reader may have become ready.
  fileprivate(set) var wakeAt = UInt64.max

  fileprivate mutating func wake(for waiter: Waiter) {
    let last = min(waiter.bytes.upperBound, end)
    if last > filledTo, waiter.bytes.lowerBound < end { wakeAt = min(wakeAt, last) }
  }
}

/// The fetches of one object, in the order in which they were planned.
struct FetchList {
  private let size: UInt64
  private(set) var records: [FetchRecord] = []
  private var lastNumber: UInt64 = 0

  init(size: UInt64) { self.size = size }

  var isEmpty: Bool { records.isEmpty }

  subscript(_ id: FetchID) -> FetchRecord? { records.first { $0.id == id } }

  func covering(_ piece: Int) -> FetchRecord? { records.first { $0.pieces.contains(piece) } }

  mutating func add(_ pieces: Range<Int>, _ rank: FetchRank, isPrefetch: Bool) -> FetchPlan {
    lastNumber += 1
    let bytes = Geometry.bytes(ofPieces: pieces, size: size)
    records.append(
      FetchRecord(
        id: FetchID(number: lastNumber), pieces: pieces, planned: bytes, rank: rank,
        isPrefetch: isPrefetch, filledTo: bytes.lowerBound, end: bytes.upperBound))
    return FetchPlan(
      id: FetchID(number: lastNumber), pieces: pieces, rank: rank, source: .store)
  }

  mutating func remove(_ id: FetchID) -> FetchRecord? {
    records.firstIndex { $0.id == id }.map { records.remove(at: $0) }
  }

  /// It is sent, for these pieces. Returns their bytes; nil if it is over.
  mutating func begin(_ id: FetchID, _ pieces: Range<Int>) -> Range<UInt64>? {
    guard let index = index(of: id) else { return nil }
    let bytes = Geometry.bytes(ofPieces: pieces, size: size)
    records[index].pieces = pieces
    records[index].hasBegun = true
    records[index].filledTo = bytes.lowerBound
    records[index].end = bytes.upperBound
    return bytes
  }

  /// Its bytes up to `position` have arrived. Returns the pieces that they lie in, those of them that are complete,
  /// and whether a reader may be ready.
  mutating func advance(_ id: FetchID, to position: UInt64) -> Arrival? {
    guard let index = index(of: id), position > records[index].filledTo else { return nil }
    let unit = UInt64(Geometry.pieceSize)
    let first = Int(records[index].filledTo / unit)
    records[index].filledTo = position
    let record = records[index]
    let completedEnd = position == record.end ? record.pieces.upperBound : Int(position / unit)
    return Arrival(
      record: record, touched: first...Int((position - 1) / unit),
      completed: first..<max(first, completedEnd), wakes: position >= record.wakeAt)
  }

  struct Arrival {
    var record: FetchRecord
    var touched: ClosedRange<Int>
    var completed: Range<Int>
    var wakes: Bool
  }

  /// Has the waiter woken when its last byte of each fetch has come.
  mutating func wake(for waiter: Waiter) {
    for index in records.indices { records[index].wake(for: waiter) }
  }

  /// Determines anew when a fetch wakes those who wait.
  mutating func wake(_ id: FetchID, for waiters: [Waiter]) {
    guard let index = index(of: id) else { return }
    records[index].wakeAt = .max
    for waiter in waiters { records[index].wake(for: waiter) }
  }

  /// Ranges in flight that hold one of `pieces`. Each is returned once.
  mutating func coming(for pieces: [Int]) -> [Range<Int>] {
    var coming: [Range<Int>] = []
    for index in records.indices {
      let record = records[index]
      guard !record.isAllocated, record.hasBegun, pieces.contains(where: record.pieces.contains)
      else { continue }
      records[index].isAllocated = true
      coming.append(record.pieces)
    }
    return coming
  }

  private func index(of id: FetchID) -> Int? { records.firstIndex { $0.id == id } }
}

/// A fetch that is to be queued.
struct FetchPlan {
  var id: FetchID
  var pieces: Range<Int>
  var rank: FetchRank
  var source: FetchSource
}

/// Where the bytes of a fetch come from.
enum FetchSource {
  /// The store that is mounted. A shared tier, or another node, would be a case of its own.
  case store
}

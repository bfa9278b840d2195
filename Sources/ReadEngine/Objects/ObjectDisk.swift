/// What the disk has of one object, and whether it takes what arrives of it.
import Posix

/// Whether what arrives of an object goes to disk.
enum DiskWrites: Equatable {
  case taken
  /// There was no room, or trouble. Tried again from then on, or when the object is opened anew.
  case refused(until: Instant)
  /// There is no disk tier, or nothing to write.
  case never
}

struct ObjectDisk {
  let pieceCount: Int
  /// The disk was asked for a copy since the object was at rest.
  private(set) var isPrepared = false
  /// The disk tier has this version down as open.
  private(set) var isCounted = false
  /// The copy there is, if any.
  private(set) var copy: CopyID?
  /// What was the copy is being removed: nothing is written, and no copy looked for, under its name.
  private(set) var isRemoving = false
  /// Whether what arrives goes to disk.
  var writes = DiskWrites.taken
  var presence: PresenceMap
  /// The disk writer has the object in its queue, or writes it.
  var isQueuedForWriting = false
  /// Segments of records that are being read.
  private var loading: Set<Int> = []
  private var lastCopy: UInt64 = 0

  init(pieceCount: Int) {
    self.pieceCount = pieceCount
    presence = PresenceMap(pieceCount: pieceCount)
  }

  // MARK: Opening and closing

  mutating func prepared() { isPrepared = true }
  mutating func lookAgain() { isPrepared = false }
  mutating func counted() { isCounted = true }
  mutating func uncounted() { isCounted = false }

  /// There is a copy from now on. `isRecorded`: with records that were not read yet.
  mutating func adopt(isRecorded: Bool) {
    lastCopy += 1
    copy = CopyID(number: lastCopy)
    if isRecorded { presence = PresenceMap(pieceCount: pieceCount, isRecorded: true) }
    loading = []
  }

  /// The object is at rest: its copy may be evicted, and the next open looks for it anew.
  mutating func close(at now: Instant) {
    copy = nil
    presence = PresenceMap(pieceCount: pieceCount)
    loading = []
    isCounted = false
    isPrepared = false
    if writes == .taken { writes = .refused(until: now) }
  }

  // MARK: Records

  /// Of the unknown segments of `pieces` those that are to be read now: the others are being read.
  mutating func segmentsToLoad(for pieces: Range<Int>) -> [Int] {
    presence.unknownSegments(of: pieces).filter { loading.insert($0).inserted }
  }

  /// Segments of `copy` were read. If it is not the copy any more they say nothing.
  mutating func load(_ segments: LoadedSegments, of copy: CopyID) {
    guard copy == self.copy else { return }
    for (index, _) in segments.segments { loading.remove(index) }
    presence.load(segments)
  }

  /// These segments could not be read: they are as unknown as before.
  mutating func loadFailed(_ segments: [Int], of copy: CopyID) {
    if copy == self.copy { loading.subtract(segments) }
  }

  // MARK: Removing

  /// The copy is of no use: its files are to be removed. What is fetched anew waits until they are.
  mutating func remove() {
    copy = nil
    presence = PresenceMap(pieceCount: pieceCount)
    loading = []
    isRemoving = true
  }

  mutating func removed() { isRemoving = false }
}

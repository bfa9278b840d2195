import DequeModule
import ObjectStore
import Posix

/// How many directories may be listed before they are requested.
///
/// A traversal of a tree opens one directory after the other, and each would cost a round trip. What is
/// listed ahead has to be earned: each listing that was there when its directory was opened pays for two
/// more, so that a traversal doubles what is ahead of it. A process that opens a few directories here and
/// there pays for a few unneeded requests.
struct TraversalCredit {
  /// Listings, or pages of one, that were not requested yet.
  static let limit = 64
  /// What is free to begin with: a traversal of the classes of a data set saves a round trip, and a process that
  /// looks into one directory pays for eight requests.
  static let first = 8

  private var credit = TraversalCredit.first
  /// Folders opened without profit since the last free one.
  private var misses = 0
  private(set) var unused = 0
  /// What was begun, oldest first, be it used by now or not.
  private var begun: Deque<(folder: ObjectKey, at: Instant)> = []

  /// Listings that may be begun now.
  var allowance: Int { min(credit, Self.limit - unused) }

  mutating func begin(_ folder: ObjectKey, at now: Instant) {
    credit -= 1
    unused += 1
    begun.append((folder, now))
  }

  /// Those that were begun longer ago than a traversal takes to reach them.
  mutating func takeOld(at now: Instant) -> [ObjectKey] {
    var old: [ObjectKey] = []
    while let first = begun.first, now >= first.at + Self.patience {
      old.append(first.folder)
      begun.removeFirst()
    }
    return old
  }

  static let patience = Duration.seconds(30)

  /// One more page of a folder that is being listed ahead; false: not now.
  mutating func takePage() -> Bool {
    guard credit > 0 else { return false }
    credit -= 1
    return true
  }

  mutating func opened(wasAhead: Bool) {
    if wasAhead {
      unused = max(0, unused - 1)
      credit = min(Self.limit, credit + 2)
      return
    }
    misses += 1
    if misses % 4 == 0 { credit = max(credit, min(Self.first, credit + 1)) }
  }

  /// A listing was dropped, or failed, before it was requested.
  mutating func wasted() { unused = max(0, unused - 1) }
}

extension MetadataState {
  /// Folders that a walk comes to after `folder`, in the order in which it does (a folder before what
  /// is in it), that are not listed; at most `wanted`, and of what is known.
  func following(
    _ folder: ObjectKey, root: ObjectKey, wanted: Int, isKnown: (DirectoryState) -> Bool
  ) -> [ObjectKey] {
    var found: [ObjectKey] = []
    var budget = 4 * TraversalCredit.limit
    collect(in: folder, from: 0, wanted, &budget, isKnown, &found)
    var below = folder
    while found.count < wanted, budget > 0, below != root, !below.bytes.isEmpty {
      let end = below.bytes.dropLast().lastIndex(of: NameRules.slash).map { $0 + 1 } ?? 0
      let parent = ObjectKey(bytes: Array(below.bytes[..<end]))
      guard let listing = folders[parent]?.listing else { return found }
      let name = Array(below.bytes[end...].dropLast())
      let index = name.withUnsafeBytes { listing.shown($0) } ?? 0
      collect(in: parent, from: index + 1, wanted, &budget, isKnown, &found)
      below = parent
    }
    return found
  }

  private func collect(
    in folder: ObjectKey, from index: Int, _ wanted: Int, _ budget: inout Int,
    _ isKnown: (DirectoryState) -> Bool, _ found: inout [ObjectKey]
  ) {
    guard let listing = folders[folder]?.listing else { return }
    for place in listing.folderIndices(from: index, limit: budget) {
      guard found.count < wanted, budget > 0 else { return }
      budget -= 1
      let child = folder + Array(listing[place].name) + [NameRules.slash]
      if saved?.has(child) == true { continue }
      if let known = folders[child], isKnown(known) {
        collect(in: child, from: 0, wanted, &budget, isKnown, &found)
      } else {
        found.append(child)
      }
    }
  }
}

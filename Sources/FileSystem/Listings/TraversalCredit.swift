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
  /// Directories opened without profit since the last free one.
  private var misses = 0
  private(set) var unused = 0
  /// What was begun, oldest first, be it used by now or not.
  private var begun: Deque<(directory: ObjectKey, at: Instant)> = []

  /// Listings that may be begun now.
  var allowance: Int { min(credit, Self.limit - unused) }

  mutating func begin(_ directory: ObjectKey, at now: Instant) {
    credit -= 1
    unused += 1
    begun.append((directory, now))
  }

  /// Those that were begun longer ago than a traversal takes to reach them.
  mutating func removeOld(at now: Instant) -> [ObjectKey] {
    var old: [ObjectKey] = []
    while let first = begun.first, now >= first.at + Self.expiry {
      old.append(first.directory)
      begun.removeFirst()
    }
    return old
  }

  static let expiry = Duration.seconds(30)

  /// One more page of a directory that is being listed ahead; false: not now.
  mutating func spendPage() -> Bool {
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

extension DirectoryCache {
  /// Directories that a traversal comes to after `directory`, in the order in which it does (a directory before what is
  /// in it), that are not listed; at most `wanted`, and of what is known. `isKept`: an earlier mount kept its listing.
  func following(
    _ directory: ObjectKey, root: ObjectKey, wanted: Int, now: Instant,
    isKept: (ObjectKey) -> Bool
  ) -> [ObjectKey] {
    var search = Following(wanted: wanted, now: now)
    collect(in: directory, from: 0, isKept, &search)
    var below = directory
    while search.found.count < wanted, search.budget > 0, below != root, !below.bytes.isEmpty {
      let (parent, name) = MountPaths.split(ObjectKey(bytes: below.bytes.dropLast()))
      guard let listing = self[parent]?.listing else { return search.found }
      let index = name.withUnsafeBytes { listing.shown($0) } ?? 0
      collect(in: parent, from: index + 1, isKept, &search)
      below = parent
    }
    return search.found
  }

  private struct Following {
    var wanted: Int
    var now: Instant
    var found: [ObjectKey] = []
    /// Entries that may still be visited.
    var budget = 4 * TraversalCredit.limit
  }

  private func collect(
    in directory: ObjectKey, from index: Int, _ isKept: (ObjectKey) -> Bool,
    _ search: inout Following
  ) {
    guard let listing = self[directory]?.listing else { return }
    for entry in listing.directoryIndices(from: index, limit: search.budget) {
      guard search.found.count < search.wanted, search.budget > 0 else { return }
      search.budget -= 1
      let child = directory + Array(listing[entry].name) + [NameRules.slash]
      if isKept(child) { continue }
      if let known = self[child],
        known.fetching != nil
          || known.listing.map({ known.isFresh($0, ttl: ttl, now: search.now) }) == true
      {
        collect(in: child, from: 0, isKept, &search)
      } else {
        search.found.append(child)
      }
    }
  }
}

import DequeModule
import FileSystem

/// The claim of one open on the mode of its inode. Only `BackingFileRegistry.open` makes one, and `release` consumes
/// it: an open that was never answered has none to give back, and none can be given back twice.
struct InodeLease: ~Copyable {
  let node: NodeID
  /// 0: through this program and the page cache.
  let backingID: Int32

  fileprivate init(_ node: NodeID, backingID: Int32) {
    self.node = node
    self.backingID = backingID
  }
}

/// Through what each open inode is read, and what is kept of an inode that no process has open.
///
/// The kernel allows one mode and one backing id an inode as long as any open of it lives: so the
/// first open decides. After the last release the id stays, for the next open: the least recently
/// used go when there are more than `limit`. An inode whose file cannot be kept leaves nothing.
///
/// Pure; what registers an id is handed in, and what must be closed is handed out. `Hold` is
/// what keeps the cache file in place.
struct BackingFileRegistry<Hold> {
  struct Kept {
    /// 0: through this program and the page cache.
    var backingID: Int32
    /// The cache file's descriptor; another one means another file.
    var descriptor: CInt
    var hold: Hold
  }

  private struct Entry {
    var opens: Int
    var kept: Kept?
    /// When the last open ended, counted in releases.
    var idleSince: UInt64 = 0
  }

  private let limit: Int
  private var entries: [NodeID: Entry] = [:]
  /// Least recently used first. What was opened again or forgotten since is passed over.
  private var idle: Deque<(node: NodeID, since: UInt64)> = []
  private var releases: UInt64 = 0
  /// Inodes that no process has open and of which something is kept.
  private(set) var idleCount = 0

  init(limit: Int) { self.limit = limit }

  /// Inodes open now.
  var openCount: Int { entries.count - idleCount }
  /// Backing ids in the kernel, of open inodes and idle ones.
  var backingCount: Int { entries.values.count { ($0.kept?.backingID ?? 0) > 0 } }

  /// An OPEN. Returns its claim on the inode's mode; `dropped` is what to close.
  ///
  /// `descriptor` is the cache file's now, nil if the object is not complete there. `register` is called
  /// when no process has the inode open and nothing is kept of this file.
  mutating func open(
    _ node: NodeID, descriptor: CInt?, dropped: inout Kept?, register: () -> Kept?
  ) -> InodeLease {
    guard var entry = entries[node] else {
      let kept = register()
      entries[node] = Entry(opens: 1, kept: kept)
      return InodeLease(node, backingID: kept?.backingID ?? 0)
    }
    if entry.opens == 0 {
      idleCount -= 1
      if entry.kept?.descriptor != descriptor {
        dropped = entry.kept
        entry.kept = register()
      }
    }
    entry.opens += 1
    entries[node] = entry
    return InodeLease(node, backingID: entry.kept?.backingID ?? 0)
  }

  /// A RELEASE. Returns what to close.
  mutating func release(_ lease: consuming InodeLease) -> Kept? {
    let node = lease.node
    guard var entry = entries[node], entry.opens > 0 else { return nil }
    entry.opens -= 1
    if entry.opens == 0, entry.kept == nil {
      entries[node] = nil
      return nil
    }
    if entry.opens == 0 {
      releases += 1
      entry.idleSince = releases
      idle.append((node, releases))
      idleCount += 1
    }
    entries[node] = entry
    if idle.count > 2 * limit + 64 { compact() }
    return idleCount > limit ? removeOldest() : nil
  }

  /// The kernel has dropped the inode, or it is of no use any more.
  mutating func forget(_ node: NodeID) -> Kept? {
    guard let entry = entries[node], entry.opens == 0 else { return nil }
    entries[node] = nil
    idleCount -= 1
    return entry.kept
  }

  /// Everything that is kept of inodes that no process has open.
  mutating func removeIdle() -> [Kept] {
    var removed: [Kept] = []
    while let kept = removeOldest() { removed.append(kept) }
    return removed
  }

  private mutating func removeOldest() -> Kept? {
    while let (node, since) = idle.popFirst() {
      if isCurrent(node, since) { return forget(node) }
    }
    return nil
  }

  /// Bounded too, although each open and release of the same file leaves an entry.
  var queueLength: Int { idle.count }

  private mutating func compact() {
    let current = idle.filter { isCurrent($0.node, $0.since) }
    idle = Deque(current)
  }

  private func isCurrent(_ node: NodeID, _ since: UInt64) -> Bool {
    guard let entry = entries[node] else { return false }
    return entry.opens == 0 && entry.idleSince == since
  }
}

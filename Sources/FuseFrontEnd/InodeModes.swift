import FileSystem

/// Through what each open inode is read. The kernel allows one mode and one backing id an inode as
/// long as any open of it lives: so the first open decides, and the last release ends it.
///
/// Pure; what registers and gives back ids is handed in.
struct InodeModes {
  private struct Entry {
    var opens: Int
    /// 0: through this program and the page cache.
    var backingID: Int32
  }

  private var entries: [NodeID: Entry] = [:]

  /// Inodes open now, and those of them that are passed through.
  var count: Int { entries.count }
  var passedThrough: Int { entries.values.count { $0.backingID > 0 } }

  /// Takes note of an open. Returns the backing id to open it with, 0 for none. `register` is asked for
  /// an id if this is the first open, and gives 0 if the inode cannot be passed through.
  mutating func open(_ node: NodeID, register: () -> Int32) -> Int32 {
    if let entry = entries[node] {
      entries[node]!.opens += 1
      return entry.backingID
    }
    let id = register()
    entries[node] = Entry(opens: 1, backingID: id)
    return id
  }

  /// Takes note of a release. Returns the id to give back, 0 for none.
  mutating func release(_ node: NodeID) -> Int32 {
    guard let entry = entries[node] else { return 0 }
    if entry.opens > 1 {
      entries[node]!.opens -= 1
      return 0
    }
    entries[node] = nil
    return entry.backingID
  }
}

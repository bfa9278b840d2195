import DequeModule
import ObjectStore

/// What the kernel must still be made to drop: bounded, and nothing is lost. Where more waits than there is
/// room for, the names of the directory with the most give way to "all names of the directory"; where that does
/// not help, everything gives way to "all names". Wider is slower (the kernel asks again), never wrong.
struct InvalidationBacklog {
  enum Target: Equatable {
    /// A name of a directory, and the node that it led to and does no more.
    case name(ObjectKey, [UInt8], node: NodeID?)
    /// All names of a directory.
    case names(of: ObjectKey)
    /// All names of the mount.
    case everything
  }

  private struct Item {
    var directory: ObjectKey
    var name: [UInt8]
    var node: NodeID?
  }

  private let limit: Int
  private let directoryLimit: Int
  private var items: Deque<Item> = []
  private var counts: [ObjectKey: Int] = [:]
  private var directories: Deque<ObjectKey> = []
  private var isEverything = false
  /// Times that something gave way to something wider.
  private(set) var overflows = 0

  /// `limit`: single names that may wait; `directoryLimit`: directories of which all names may.
  init(limit: Int = 65_536, directoryLimit: Int = 1024) {
    self.limit = max(limit, 1)
    self.directoryLimit = max(directoryLimit, 1)
  }

  var isEmpty: Bool { items.isEmpty && directories.isEmpty && !isEverything }
  /// Targets that wait.
  var count: Int { items.count + directories.count + (isEverything ? 1 : 0) }

  mutating func add(_ name: [UInt8], of directory: ObjectKey, node: NodeID?) {
    if isEverything || directories.contains(directory) { return }
    if items.count >= limit { widen() }
    if isEverything || directories.contains(directory) { return }
    items.append(Item(directory: directory, name: name, node: node))
    counts[directory, default: 0] += 1
  }

  private mutating func widen() {
    overflows += 1
    // A directory that frees too little would have this done again for each name.
    let most = counts.max { $0.value < $1.value }
    guard let most, directories.count < directoryLimit, most.value * directoryLimit >= limit else {
      items = []
      counts = [:]
      directories = []
      isEverything = true
      return
    }
    items.removeAll { $0.directory == most.key }
    counts[most.key] = nil
    directories.append(most.key)
  }

  /// At most `limit` targets, the widest first, in the order in which they came.
  mutating func removeFirst(_ limit: Int) -> [Target] {
    var taken: [Target] = []
    if isEverything {
      isEverything = false
      taken.append(.everything)
    }
    while taken.count < limit, let directory = directories.popFirst() {
      taken.append(.names(of: directory))
    }
    while taken.count < limit, let item = items.popFirst() {
      let left = counts[item.directory, default: 1] - 1
      counts[item.directory] = left > 0 ? left : nil
      taken.append(.name(item.directory, item.name, node: item.node))
    }
    return taken
  }
}

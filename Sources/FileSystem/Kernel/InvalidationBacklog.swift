import DequeModule
import ObjectStore

/// What the kernel must still be made to drop: bounded, and nothing is lost. Where more waits than there is
/// room for, the names of the folder with the most give way to "all names of the folder"; where that does
/// not help, everything gives way to "all names". Wider is slower (the kernel asks again), never wrong.
struct InvalidationBacklog {
  enum Target: Equatable {
    /// A name of a folder, and the node that it led to and does no more.
    case name(ObjectKey, [UInt8], node: NodeID?)
    /// All names of a folder.
    case names(of: ObjectKey)
    /// All names of the mount.
    case everything
  }

  private struct Item {
    var folder: ObjectKey
    var name: [UInt8]
    var node: NodeID?
  }

  private let limit: Int
  private let folderLimit: Int
  private var items: Deque<Item> = []
  private var counts: [ObjectKey: Int] = [:]
  private var folders: Deque<ObjectKey> = []
  private var isEverything = false
  /// Times that something gave way to something wider.
  private(set) var overflows = 0

  /// `limit`: single names that may wait; `folderLimit`: folders of which all names may.
  init(limit: Int = 65_536, folderLimit: Int = 1024) {
    self.limit = max(limit, 1)
    self.folderLimit = max(folderLimit, 1)
  }

  var isEmpty: Bool { items.isEmpty && folders.isEmpty && !isEverything }
  /// Targets that wait.
  var count: Int { items.count + folders.count + (isEverything ? 1 : 0) }

  mutating func add(_ name: [UInt8], of folder: ObjectKey, node: NodeID?) {
    if isEverything || folders.contains(folder) { return }
    if items.count >= limit { widen() }
    if isEverything || folders.contains(folder) { return }
    items.append(Item(folder: folder, name: name, node: node))
    counts[folder, default: 0] += 1
  }

  private mutating func widen() {
    overflows += 1
    // A folder that frees too little would have this done again for each name.
    let most = counts.max { $0.value < $1.value }
    guard let most, folders.count < folderLimit, most.value * folderLimit >= limit else {
      items = []
      counts = [:]
      folders = []
      isEverything = true
      return
    }
    items.removeAll { $0.folder == most.key }
    counts[most.key] = nil
    folders.append(most.key)
  }

  /// At most `limit` targets, the widest first, in the order in which they came.
  mutating func take(_ limit: Int) -> [Target] {
    var taken: [Target] = []
    if isEverything {
      isEverything = false
      taken.append(.everything)
    }
    while taken.count < limit, let folder = folders.popFirst() { taken.append(.names(of: folder)) }
    while taken.count < limit, let item = items.popFirst() {
      let left = counts[item.folder, default: 1] - 1
      counts[item.folder] = left > 0 ? left : nil
      taken.append(.name(item.folder, item.name, node: item.node))
    }
    return taken
  }
}

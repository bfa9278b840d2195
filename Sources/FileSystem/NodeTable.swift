import ObjectStore
import Posix

/// The nodes that the kernel refers to: (path, version), each with its count of references.
///
/// Pure: it is told what was seen and when. A node lives while it is referenced; the kernel keeps a
/// reference on what it has open, so opens need no count of their own.
struct NodeTable {
  struct Node {
    /// Absolute, without "/" at the end.
    let path: ObjectKey
    let inode: UInt64
    var seen: Seen
    var references: UInt64
    /// When the store last showed this version.
    var checked: Instant
    /// The path has another version by now, or none.
    var isStale = false
  }

  /// A dictionary's slot for a node and one for its path, and the heap block of the path.
  private static let overhead =
    MemoryLayout<(NodeID, Node)>.stride * 4 / 3 + MemoryLayout<(ObjectKey, NodeID)>.stride * 4 / 3
    + 48

  private var nodes: [NodeID: Node] = [:]
  private var current: [ObjectKey: NodeID] = [:]
  private var nextID = FileSystem.root + 1
  private(set) var bytes = 0

  var count: Int { nodes.count }

  subscript(id: NodeID) -> Node? { nodes[id] }

  /// The node of the version that the path was last seen to have.
  func current(_ path: ObjectKey) -> (id: NodeID, node: Node)? {
    guard let id = current[path], let node = nodes[id] else { return nil }
    return (id, node)
  }

  /// Takes in what the store showed (nil: nothing) at a time. Returns the node that became stale by
  /// it. What is older than the node's own knowledge changes nothing.
  mutating func observe(_ path: ObjectKey, _ seen: Seen?, at time: Instant) -> NodeID? {
    guard let id = current[path], let node = nodes[id], time >= node.checked else { return nil }
    if let seen, node.seen.isSameVersion(as: seen) {
      nodes[id]?.checked = time
      return nil
    }
    return expire(path)
  }

  /// Makes the path's node stale. Returns it, if there was one.
  mutating func expire(_ path: ObjectKey) -> NodeID? {
    guard let id = current.removeValue(forKey: path) else { return nil }
    nodes[id]?.isStale = true
    return id
  }

  /// `observe`, then one reference on the path's node, a new one if it has none.
  mutating func take(
    _ path: ObjectKey, _ seen: Seen, at time: Instant
  ) -> (id: NodeID, node: Node, replaced: NodeID?) {
    let replaced = observe(path, seen, at: time)
    if let id = current[path] {
      nodes[id]?.references += 1
      return (id, nodes[id]!, replaced)
    }
    let id = nextID
    nextID += 1
    let node = Node(
      path: path, inode: NameRules.inode(of: path.bytes), seen: seen, references: 1, checked: time)
    nodes[id] = node
    current[path] = id
    bytes += cost(node)
    return (id, node, replaced)
  }

  /// Gives references back; at 0 the node is gone. More than were taken count as all of them.
  mutating func forget(_ id: NodeID, count: UInt64) {
    guard var node = nodes[id] else { return }
    node.references -= min(count, node.references)
    if node.references > 0 {
      nodes[id] = node
      return
    }
    nodes[id] = nil
    if current[node.path] == id { current[node.path] = nil }
    bytes -= cost(node)
  }

  private func cost(_ node: Node) -> Int {
    Self.overhead + node.path.bytes.count
      + (node.seen.etag.utf8.count > 15 ? node.seen.etag.utf8.count + 32 : 0)
  }
}

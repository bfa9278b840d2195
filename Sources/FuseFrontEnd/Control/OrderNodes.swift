import FileSystem

/// The nodes of the files `order` and `order.NAME`: which there are, what the kernel holds of them and how many opens
/// they have.
///
/// A value without a lock. Orders are named as in `order.NAME`; the empty name is that of `order`, whose node is always
/// there. A node's number is never given to another name.
struct OrderNodes {
  private struct Node {
    /// Of its order.
    var name: String
    /// Lookups that the kernel has not given back with a FORGET.
    var lookups: UInt64 = 0
    var opens = 0
  }

  /// The node of `order`.
  private let unnamed: NodeID
  /// Nodes at once. The kernel keeps names long after their orders have ended: the oldest that is not open goes.
  private let limit: Int
  private var nodes: [NodeID: Node] = [:]
  private var numbers: [String: NodeID] = [:]
  private var last: NodeID

  /// `last`: the number before the first that may be given.
  init(unnamed: NodeID, after last: NodeID, limit: Int) {
    self.unnamed = unnamed
    self.last = last
    self.limit = limit
  }

  /// Nodes of `order.NAME`.
  var count: Int { nodes.count }

  /// The node of an order where there is one; nothing is retained.
  func number(of order: String) -> NodeID? { order.isEmpty ? unnamed : numbers[order] }

  /// A LOOKUP: the node of a file that is there, being an order in force or open for writing. The kernel holds it until
  /// `forget`.
  mutating func lookUp(_ order: String, isInForce: Bool) -> NodeID? {
    let isOpen = numbers[order].map { nodes[$0]!.opens > 0 } ?? false
    return order.isEmpty || isInForce || isOpen ? retain(order) : nil
  }

  /// The node of a file, made where there is none. The kernel holds it until `forget`.
  mutating func retain(_ order: String) -> NodeID {
    if order.isEmpty { return unnamed }
    if let number = numbers[order] {
      nodes[number]!.lookups += 1
      return number
    }
    if nodes.count >= limit, let oldest = nodes.filter({ $0.value.opens == 0 }).keys.min() {
      drop(oldest)
    }
    last += 1
    nodes[last] = Node(name: order, lookups: 1)
    numbers[order] = last
    return last
  }

  /// A FORGET: the kernel holds `count` lookups less.
  mutating func forget(_ node: NodeID, count: UInt64) {
    guard var known = nodes[node] else { return }
    known.lookups -= min(known.lookups, count)
    nodes[node] = known
    dropUnused(node)
  }

  /// An OPEN. Returns the order's name; nil: the node is not known any more.
  mutating func open(_ node: NodeID) -> String? {
    if node == unnamed { return "" }
    guard let name = nodes[node]?.name else { return nil }
    nodes[node]!.opens += 1
    return name
  }

  /// A RELEASE, of each open once.
  mutating func close(_ node: NodeID) {
    guard nodes[node] != nil else { return }
    nodes[node]!.opens -= 1
    dropUnused(node)
  }

  private mutating func dropUnused(_ node: NodeID) {
    if let known = nodes[node], known.lookups == 0, known.opens == 0 { drop(node) }
  }

  private mutating func drop(_ node: NodeID) {
    guard let name = nodes.removeValue(forKey: node)?.name else { return }
    numbers[name] = nil
  }
}

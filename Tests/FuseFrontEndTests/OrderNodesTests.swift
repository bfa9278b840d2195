import FileSystem
import Posix
import Testing

@testable import FuseFrontEnd

/// The nodes of orders' files, driven alone and compared with plain counts.
@Suite struct OrderNodesTests {
  private struct Known {
    var lookups: UInt64
    var opens = 0
  }

  private static func problems(seed: UInt64) -> [String] {
    var random = SeededGenerator(seed: seed)
    let limit = Int.random(in: 1...5, using: &random)
    var nodes = OrderNodes(unnamed: 1, after: 10, limit: limit)
    var known: [NodeID: Known] = [:]
    var names: [NodeID: String] = [:]
    var openMax = 0
    var problems: [String] = []
    func require(_ holds: Bool, _ problem: String) {
      if !holds { problems.append("seed \(seed): \(problem)") }
    }
    /// What a lookup or a create gave: the node of the name where one is known, else a new one.
    func retained(_ node: NodeID, _ name: String) {
      if let number = known.keys.first(where: { names[$0] == name }) {
        require(node == number, "\(name) has two nodes")
      } else {
        require(names[node] == nil, "a number is given twice")
        if known.count >= limit, let oldest = known.filter({ $0.value.opens == 0 }).keys.min() {
          known[oldest] = nil
        }
      }
      names[node] = name
      known[node, default: Known(lookups: 0)].lookups += 1
    }
    for _ in 0..<200 where problems.isEmpty {
      let name = "\(Int.random(in: 0..<8, using: &random))"
      let node = NodeID.random(in: 11...(11 + NodeID(max(1, names.count))), using: &random)
      switch Int.random(in: 0..<6, using: &random) {
      case 0:
        let isInForce = Bool.random(using: &random)
        let isOpen = known.contains { names[$0.key] == name && $0.value.opens > 0 }
        let found = nodes.lookUp(name, isInForce: isInForce)
        require((found != nil) == (isInForce || isOpen), "\(name) is there or is not")
        if let found { retained(found, name) }
      case 1: retained(nodes.retain(name), name)
      case 2:
        let count = UInt64.random(in: 1...3, using: &random)
        nodes.forget(node, count: count)
        let held = known[node]?.lookups ?? 0
        known[node]?.lookups = held - min(count, held)
      case 3:
        let opened = nodes.open(node)
        require(opened == (known[node] == nil ? nil : names[node]), "opened another name")
        known[node]?.opens += 1
      case 4:
        // Each open is closed once.
        guard let opens = known[node]?.opens, opens > 0 else { continue }
        nodes.close(node)
        known[node]?.opens -= 1
      default: require(nodes.open(1) == "" && nodes.retain("") == 1, "order has no node")
      }
      known = known.filter { $0.value.lookups > 0 || $0.value.opens > 0 }
      require(nodes.count == known.count, "\(nodes.count) nodes, and \(known.count) in use")
      require(
        known.keys.allSatisfy { nodes.number(of: names[$0]!) == $0 }, "a name lost its node")
      openMax = max(openMax, known.values.count { $0.opens > 0 })
      require(nodes.count <= max(limit, openMax + 1), "more nodes than may be")
    }
    return problems
  }

  @Test func aNodeLivesFromItsFirstLookupToItsLastForgetAndRelease() {
    for seed in 0..<2000 as Range<UInt64> { #expect(Self.problems(seed: seed) == []) }
  }

  @Test func theOldestNodeThatIsNotOpenMakesSpace() {
    var nodes = OrderNodes(unnamed: 1, after: 10, limit: 2)
    let first = nodes.retain("a")
    let second = nodes.retain("b")
    let name = nodes.open(first)
    let third = nodes.retain("c")
    #expect(name == "a" && nodes.number(of: "a") == first && nodes.number(of: "b") == nil)
    #expect(nodes.number(of: "c") == third && nodes.count == 2)
    let gone = nodes.open(second)
    #expect(gone == nil)
  }
}

import Synchronization

/// Memory for the bodies that a transport collects: listings, indexes, documents.
///
/// A body draws its bytes as they arrive and holds them until it was parsed. So a store that answers
/// every request with a huge body costs time, and never more memory than this.
public final class BodyBudget: Sendable {
  /// Bytes that all collected bodies together may hold.
  public let limit: Int
  private let used = Atomic<Int>(0)

  /// The least that a limit may be: one page of an S3 listing at its largest, and half of it again.
  public static let leastLimit = 24 << 20

  public init(limit: Int) { self.limit = max(limit, Self.leastLimit) }

  /// Without the least, for tests.
  init(exactly limit: Int) { self.limit = limit }

  /// Bytes held now.
  public var usedBytes: Int { used.load(ordering: .relaxed) }

  /// The share of one body; it is given back when the last copy of the body is gone.
  final class Lease: Sendable {
    private let budget: BodyBudget
    private let held = Atomic<Int>(0)

    init(_ budget: BodyBudget) { self.budget = budget }

    /// False: other bodies hold the rest.
    func grow(by count: Int) -> Bool {
      let total = budget.used.add(count, ordering: .relaxed).newValue
      guard total <= budget.limit else {
        budget.used.subtract(count, ordering: .relaxed)
        return false
      }
      held.add(count, ordering: .relaxed)
      return true
    }

    deinit {
      budget.used.subtract(held.load(ordering: .relaxed), ordering: .relaxed)
    }
  }
}

/// A body that was collected whole, with its share of the memory for bodies.
public struct CollectedBody: Sendable, ExpressibleByArrayLiteral {
  public private(set) var bytes: [UInt8]
  private let lease: BodyBudget.Lease?

  init(_ bytes: [UInt8], _ lease: BodyBudget.Lease?) {
    self.bytes = bytes
    self.lease = lease
  }

  /// A body that counts against no budget: of an answer that no server sent.
  public init(_ bytes: [UInt8]) { self.init(bytes, nil) }

  public init(arrayLiteral elements: UInt8...) { self.init(elements) }
}

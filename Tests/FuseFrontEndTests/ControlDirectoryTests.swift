import FileSystem
import Posix
import SystemPackage
import Testing

@testable import FuseFrontEnd

/// What is written to orders: in bounds, for one and for all that are open, and nothing of it is counted
/// twice or kept.
@Suite struct ControlDirectoryTests {
  private final class Taken: Sendable {
    let orders = Lock<[String: [UInt8]]>([:])
    /// Closed while an order is to be parsed slowly.
    let gate = Lock(())
    /// What orders are refused with.
    let refusal = Lock<Errno?>(nil)
  }

  private func folder(_ taken: Taken, limit: Int = 80, totalLimit: Int = 100) -> ControlDirectory {
    ControlDirectory(
      ControlFiles(
        apply: { bytes, name in
          taken.gate.withLock { _ in }
          if let refusal = taken.refusal.withLock({ $0 }) { return refusal }
          taken.orders.withLock { $0[name] = bytes }
          return nil
        }, remove: { name in taken.orders.withLock { $0.removeValue(forKey: name) != nil } },
        names: { taken.orders.withLock { $0.keys.sorted() } },
        limits: ControlFiles.Limits(file: limit, total: totalLimit, name: 100)))
  }

  private func open(_ folder: ControlDirectory, _ name: String) throws -> UInt64 {
    let found = order(folder, name)
    let order = try #require(found)
    let handle = folder.open(folder.create(order))
    return try #require(handle)
  }

  private func order(_ folder: ControlDirectory, _ name: String) -> String? {
    var name = name
    return name.withUTF8 { folder.order(of: UnsafeRawBufferPointer($0)) }
  }

  /// As close(2): waits until the order is in force.
  private func flush(_ folder: ControlDirectory, _ handle: UInt64) -> Errno? {
    let answer = Monitor<Errno??>(nil)
    folder.flush(handle) { error in answer.signal(all: true) { $0 = .some(error) } }
    return answer.wait(until: .now + .seconds(30)) { $0 } ?? .timedOut
  }

  private func write(_ folder: ControlDirectory, _ handle: UInt64, _ count: Int, at offset: Int = 0)
    -> Errno?
  {
    [UInt8](repeating: 0x61, count: count).withUnsafeBytes { folder.write(handle, $0, at: offset) }
  }

  @Test func allThatIsOpenHasABoundAndGivesItBack() throws {
    let taken = Taken()
    let folder = folder(taken)
    let first = try open(folder, "order.a")
    let second = try open(folder, "order.b")
    #expect(write(folder, first, 60) == nil)
    #expect(write(folder, second, 40) == nil)
    #expect(write(folder, second, 1, at: 40) == .noSpace)
    // It is refused as a whole, to its end, and holds nothing any more.
    #expect(write(folder, second, 1) == .noSpace)
    #expect(flush(folder, second) == .noSpace)
    let third = try open(folder, "order.c")
    #expect(write(folder, third, 10, at: 30) == nil)
    #expect(write(folder, third, 1, at: 40) == .noSpace)
    for handle in [second, third, third] { folder.close(handle) }
    #expect(flush(folder, first) == nil)
    for _ in 0..<2 { folder.close(first) }
    #expect(taken.orders.withLock { $0.keys.sorted() } == ["a"])
    // All of it is there again, and no more than that.
    let handles = try ["order.d", "order.e"].map { try open(folder, $0) }
    #expect(write(folder, handles[0], 80) == nil)
    #expect(write(folder, handles[0], 80) == nil)
    #expect(write(folder, handles[1], 20) == nil)
    #expect(write(folder, handles[1], 1, at: 20) == .noSpace)
    for handle in handles { folder.close(handle) }
    folder.shutdown()
    #expect(taken.orders.withLock { $0["d"]?.count } == 80)
  }

  @Test func oneFileHasABoundAndAHoleIsZeros() throws {
    let taken = Taken()
    let folder = folder(taken)
    let file = try open(folder, "order")
    #expect(write(folder, file, 10, at: 50) == nil)
    #expect(write(folder, file, 20, at: 55) == nil)
    #expect(flush(folder, file) == nil)
    #expect(
      taken.orders.withLock { $0[""] }
        == [UInt8](repeating: 0, count: 50) + [UInt8](repeating: 0x61, count: 25))
    #expect(write(folder, file, 1, at: 80) == .fileTooLarge)
    #expect(write(folder, file, 1, at: -1) == .fileTooLarge)
    #expect(flush(folder, file) == .fileTooLarge)
    folder.close(file)
    // What was in force stays so.
    #expect(taken.orders.withLock { $0[""]?.count } == 75)
    folder.shutdown()
  }

  // MARK: Names

  @Test func onlyNamesInForceOrBeingWrittenAreThere() throws {
    let taken = Taken()
    let folder = folder(taken)
    defer { folder.shutdown() }
    #expect(order(folder, "order") == "" && order(folder, "order.a b") == "a b")
    for name in ["orders", "order.", "other", "order." + String(repeating: "x", count: 101)] {
      #expect(order(folder, name) == nil, "\(name)")
    }
    #expect(folder.lookUp("a") == nil && folder.nodeCount == 0)
    let node = folder.create("a")
    #expect(folder.lookUp("a") == nil)
    let handle = try #require(folder.open(node))
    #expect(folder.lookUp("a") == node)
    #expect(write(folder, handle, 1) == nil && flush(folder, handle) == nil)
    folder.close(handle)
    #expect(folder.lookUp("a") == node)
    #expect(folder.names.map(\.name) == ["order", "order.a"])
    #expect(folder.remove("a") && !folder.remove("a"))
    #expect(folder.lookUp("a") == nil)
    // Held three times by the kernel.
    folder.forget(node, count: 2)
    #expect(folder.nodeCount == 1)
    folder.forget(node, count: 1)
    #expect(folder.nodeCount == 0 && folder.open(node) == nil)
    #expect(folder.create("a") != node)
  }

  @Test func lookingForNamesUsesNothingUp() throws {
    let taken = Taken()
    let folder = folder(taken)
    defer { folder.shutdown() }
    for index in 0..<20_000 { #expect(folder.lookUp("\(index)") == nil) }
    #expect(folder.nodeCount == 0)
    #expect(folder.lookUp("") == ControlDirectory.orderNode)
    let handle = try open(folder, "order.new")
    #expect(write(folder, handle, 1) == nil && flush(folder, handle) == nil)
    folder.close(handle)
    #expect(folder.lookUp("new") != nil)
  }

  /// The kernel may hold the names of all orders that ever were.
  @Test func namesThatTheKernelHoldsHaveABound() throws {
    let taken = Taken()
    let folder = folder(taken)
    defer { folder.shutdown() }
    let first = folder.create("written")
    let handle = try #require(folder.open(first))
    for index in 0..<17_000 { _ = folder.create("\(index)") }
    #expect(folder.nodeCount == 16_384)
    #expect(write(folder, handle, 1) == nil && flush(folder, handle) == nil)
    folder.close(handle)
    #expect(folder.lookUp("written") == first)
  }

  /// Threads that answer the kernel do not wait for an order to be parsed.
  @Test func closingAnOrderDoesNotWaitOnTheThreadThatAsks() throws {
    let taken = Taken()
    let folder = folder(taken)
    defer { folder.shutdown() }
    let handle = try open(folder, "order.large")
    #expect(write(folder, handle, 10) == nil)
    let answer = Monitor<Errno??>(nil)
    taken.gate.withLock { _ in
      folder.flush(handle) { error in answer.signal(all: true) { $0 = .some(error) } }
      // The gate is closed: it cannot have been taken yet, and this thread is here already.
      #expect(taken.orders.withLock(\.isEmpty))
    }
    #expect(answer.wait(until: .now + .seconds(30)) { $0 } == .some(.none))
    #expect(taken.orders.withLock { $0["large"]?.count } == 10)
    folder.close(handle)
  }

  /// A child that inherits the descriptor closes it too, before or while its parent does.
  @Test func eachCloseSaysWhatCameOfTheOrder() throws {
    let taken = Taken()
    let folder = folder(taken)
    defer { folder.shutdown() }
    let handle = try open(folder, "order.large")
    #expect(write(folder, handle, 10) == nil)
    taken.refusal.withLock { $0 = .noSpace }
    let outcomes = Monitor<[Errno?]>([])
    taken.gate.withLock { _ in
      for _ in 0..<2 {
        folder.flush(handle) { error in outcomes.signal(all: true) { $0.append(error) } }
      }
    }
    let both = outcomes.wait(until: .now + .seconds(30)) { $0.count == 2 ? $0 : nil }
    #expect(both == [.noSpace, .noSpace])
    #expect(flush(folder, handle) == .noSpace)
    // Another try is another order.
    taken.refusal.withLock { $0 = nil }
    #expect(write(folder, handle, 10) == nil)
    #expect(flush(folder, handle) == nil && flush(folder, handle) == nil)
    #expect(taken.orders.withLock { $0["large"]?.count } == 10)
    folder.close(handle)
  }
}

import FileSystem
import Posix
import SystemPackage
import Testing

@testable import FuseFrontEnd

/// What is written to orders: in bounds, for one and for all that are open, and nothing of it is counted
/// twice or kept.
@Suite struct ControlFolderTests {
  private final class Taken: Sendable {
    let orders = Lock<[String: [UInt8]]>([:])
  }

  private func folder(_ taken: Taken, limit: Int = 80, totalLimit: Int = 100) -> ControlFolder {
    ControlFolder(
      ControlFiles(
        take: { bytes, name in
          taken.orders.withLock { $0[name] = bytes }
          return nil
        }, remove: { _ in true }, names: { [] }, limit: limit, totalLimit: totalLimit,
        nameLimit: 100))
  }

  private func open(_ folder: ControlFolder, _ name: String) throws -> UInt64 {
    var name = name
    let node = name.withUTF8 { folder.node(of: UnsafeRawBufferPointer($0)) }
    return folder.open(try #require(node))
  }

  private func write(_ folder: ControlFolder, _ handle: UInt64, _ count: Int, at offset: Int = 0)
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
    #expect(folder.flush(second) == .noSpace)
    let third = try open(folder, "order.c")
    #expect(write(folder, third, 10, at: 30) == nil)
    #expect(write(folder, third, 1, at: 40) == .noSpace)
    for handle in [second, third, third] { folder.close(handle) }
    #expect(folder.flush(first) == nil)
    for _ in 0..<2 { folder.close(first) }
    #expect(taken.orders.withLock { $0.keys.sorted() } == ["a"])
    // All of it is there again, and no more than that.
    let handles = try ["order.d", "order.e"].map { try open(folder, $0) }
    #expect(write(folder, handles[0], 80) == nil)
    #expect(write(folder, handles[0], 80) == nil)
    #expect(write(folder, handles[1], 20) == nil)
    #expect(write(folder, handles[1], 1, at: 20) == .noSpace)
    for handle in handles { folder.close(handle) }
    #expect(taken.orders.withLock { $0["d"]?.count } == 80)
  }

  @Test func oneFileHasABoundAndAHoleIsZeros() throws {
    let taken = Taken()
    let folder = folder(taken)
    let file = try open(folder, "order")
    #expect(write(folder, file, 10, at: 50) == nil)
    #expect(write(folder, file, 20, at: 55) == nil)
    #expect(folder.flush(file) == nil)
    #expect(
      taken.orders.withLock { $0[""] }
        == [UInt8](repeating: 0, count: 50) + [UInt8](repeating: 0x61, count: 25))
    #expect(write(folder, file, 1, at: 80) == .fileTooLarge)
    #expect(write(folder, file, 1, at: -1) == .fileTooLarge)
    #expect(folder.flush(file) == .fileTooLarge)
    folder.close(file)
    // What was in force stays so.
    #expect(taken.orders.withLock { $0[""]?.count } == 75)
  }
}

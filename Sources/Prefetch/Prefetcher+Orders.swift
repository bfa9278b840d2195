import Logging
import Metrics
import Posix

/// Orders of epochs: given, ended, reported.
extension Prefetcher {
  /// Why an order was not taken.
  public enum OrderFailure: Error, Sendable, Equatable, CustomStringConvertible {
    case tooLarge, tooMany
    /// Bytes.
    case noMemory(needed: Int, left: Int, limit: Int)

    public var description: String {
      switch self {
      case .tooLarge:
        "an order has \(OrderText.byteLimit >> 20) MiB and \(OrderText.lineLimit) lines at most: give it in parts"
      case .tooMany:
        "\(OrderBook.limit) orders are in force: end one (rm .millrace/order.NAME)"
      case .noMemory(let needed, let left, let limit):
        "it takes \(needed >> 20) MiB of memory and the orders in force leave \(left >> 20) of \(limit >> 20) MiB: "
          + "end one (rm .millrace/order.NAME), give it in parts or raise --metadata-limit"
      }
    }
  }

  /// Bytes that an order may have.
  public static let orderLimit = OrderText.byteLimit
  /// Bytes of an order's name.
  public static let orderNameLimit = 100

  /// Takes an order: it replaces the last of the same name; an empty one ends it. Parses all of it: up to a second
  /// for the largest.
  public func take(order bytes: [UInt8], name: String) throws(OrderFailure) {
    guard bytes.count <= OrderText.byteLimit else { throw .tooLarge }
    let count = try parsing.withLock { _ throws(OrderFailure) in try take(parsing: bytes, name) }
    metrics.prefetch.orders.add()
    log.info("order taken", metadata: ["name": "\(name)", "files": "\(count)"])
    runner.call()
  }

  private func take(parsing bytes: [UInt8], _ name: String) throws(OrderFailure) -> Int {
    let book = runner.book
    guard book.hasRoom(forText: bytes.count, name: name) else {
      throw .noMemory(
        needed: bytes.count, left: max(0, book.memoryLimit - book.memory), limit: book.memoryLimit)
    }
    let text: OrderText
    do throws(OrderText.Failure) {
      text = try OrderText(bytes, mountPoint: mountPoint)
    } catch { throw .tooLarge }
    do throws(OrderBook.Refusal) { try book.take(text, name: name) } catch {
      switch error {
      case .tooMany: throw .tooMany
      case .noMemory(let needed, let left):
        throw .noMemory(needed: needed, left: left, limit: book.memoryLimit)
      }
    }
    return text.count
  }

  /// False: there is none of that name.
  public func removeOrder(_ name: String) -> Bool { runner.book.remove(name) }

  public var orderNames: [String] { runner.book.names }

  /// Memory of the orders in force and what it may be, bytes.
  public var orderMemory: (used: Int, limit: Int) { (runner.book.memory, runner.book.memoryLimit) }

  public var orders: [OrderReport] {
    runner.book.state.withLock { state in
      state.orders.sorted { $0.key < $1.key }.map { name, running in
        OrderReport(
          name: name, files: running.text.count, opened: running.order.openedCount,
          ahead: running.order.cursor, bytesAhead: running.order.ahead, late: running.order.late,
          unknown: running.order.unknown, bytesInVain: running.order.vain,
          memory: running.text.memory)
      }
    }
  }
}

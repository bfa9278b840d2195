import Logging
import Metrics
import Posix

/// Orders of epochs: given, ended, reported.
extension Prefetcher {
  /// Why an order was not taken.
  public enum OrderFailure: Error, Sendable, Equatable, CustomStringConvertible {
    case tooLarge, tooMany
    /// None of its first paths exists: `first` is one of them.
    case nothingFound(checked: Int, first: String, mountPoint: String)
    /// Bytes.
    case noMemory(needed: Int, left: Int, limit: Int)

    public var description: String {
      switch self {
      case .tooLarge:
        "an order has \(OrderText.byteLimit >> 20) MiB and \(OrderText.lineLimit) lines at most: give it in parts"
      case .nothingFound(let checked, let first, let mountPoint):
        (checked == 1 ? "its only path" : "none of its first \(checked) paths")
          + " \(checked == 1 ? "is not a file" : "is a file") of the mount"
          + (checked == 1 ? ": '\(first)'" : ", such as '\(first)'")
          + "; paths are relative to the mount point \(mountPoint), or begin with it"
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
  /// for the largest. `checks`: looks its first paths up before, for up to 5 s where the store is slow, and refuses it if
  /// none exists.
  @discardableResult
  public func take(
    order bytes: [UInt8], name: String, checks: Bool = true
  ) throws(OrderFailure) -> OrderReceipt {
    guard bytes.count <= OrderText.byteLimit else { throw .tooLarge }
    let text = try parsing.withLock { _ throws(OrderFailure) in try parse(bytes, name) }
    var receipt = OrderReceipt(files: text.count)
    let number = runner.book.newNumber()
    if checks { try check(text, &receipt) }
    do throws(OrderBook.Refusal) {
      try runner.book.take(text, name: name, number: number)
    } catch {
      throw failure(error)
    }
    metrics.prefetch.orders.add()
    log.info("order accepted", metadata: ["name": "\(name)", "files": "\(receipt.files)"])
    if let warning = receipt.warning {
      log.warning("order \(name.isEmpty ? "" : "'\(name)'"): \(warning)")
    }
    runner.call()
    return receipt
  }

  /// The same by a thread of its own: `reply` is called on that.
  public func take(
    order bytes: [UInt8], name: String,
    reply: @escaping @Sendable (Result<OrderReceipt, OrderFailure>) -> Void
  ) {
    let isTaken = orderTaker.submit { [self] in
      do throws(OrderFailure) { reply(.success(try take(order: bytes, name: name))) } catch {
        reply(.failure(error))
      }
    }
    if !isTaken { reply(.failure(.tooMany)) }
  }

  private func parse(_ bytes: [UInt8], _ name: String) throws(OrderFailure) -> OrderText {
    let book = runner.book
    guard book.hasRoom(forText: bytes.count, name: name) else {
      throw .noMemory(
        needed: bytes.count, left: max(0, book.memoryLimit - book.memory), limit: book.memoryLimit)
    }
    let text: OrderText
    do throws(OrderText.Failure) {
      text = try OrderText(bytes, mountPoint: mountPoint)
    } catch { throw .tooLarge }
    do throws(OrderBook.Refusal) { try book.check(text, name: name) } catch {
      throw failure(error)
    }
    return text
  }

  private func check(_ text: OrderText, _ receipt: inout OrderReceipt) throws(OrderFailure) {
    guard checking.mayCheck else { return }
    let check = OrderCheck(text, fileSystem, by: .now + OrderCheck.patience) { [checking] in
      checking.isStopping
    }
    if !check.isComplete { checking.pause() }
    receipt.pathsChecked = check.checked
    receipt.pathsNotFound = check.notFound
    receipt.firstNotFound = check.firstNotFound.map { String(decoding: $0, as: UTF8.self) }
    if check.hasNothing {
      throw .nothingFound(
        checked: check.checked, first: receipt.firstNotFound ?? "", mountPoint: mountPoint)
    }
  }

  private func failure(_ refusal: OrderBook.Refusal) -> OrderFailure {
    switch refusal {
    case .tooMany: .tooMany
    case .noMemory(let needed, let left):
      .noMemory(needed: needed, left: left, limit: runner.book.memoryLimit)
    }
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
          notFound: running.order.unknown, unusedBytes: running.order.vain,
          memory: running.text.memory)
      }
    }
  }
}

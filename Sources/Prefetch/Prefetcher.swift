/// What will be read next: the rest of a data set that is walked (fill), the order of an epoch, a warm-up.
///
/// It watches the opens of the file system and has the engine fetch; nothing here is on the path of a
/// read. The front end hands it orders, the control socket its jobs.
public import FileSystem
public import Logging
public import Metrics
import ObjectStore
import Posix
public import ReadEngine

public final class Prefetcher: Sendable {
  let fileSystem: FileSystem
  let engine: ReadEngine
  let metrics: Metrics
  let log: Logger
  private let mountPoint: String
  private let filler: Filler
  private let runner: OrderRunner
  let board = JobBoard()
  /// Jobs begin one after the other, so that what is found out before still holds.
  let beginning = Lock(())

  public init(
    fileSystem: FileSystem, engine: ReadEngine, mountPoint: String, options: PrefetchOptions,
    metrics: Metrics, log: Logger
  ) {
    self.fileSystem = fileSystem
    self.engine = engine
    self.mountPoint = mountPoint
    self.metrics = metrics
    self.log = log
    let runner = OrderRunner(fileSystem, engine, options, metrics, log)
    let filler = Filler(fileSystem, engine, options, metrics, log, rests: { runner.book.isActive })
    self.runner = runner
    self.filler = filler
    engine.onNextUse { runner.book.distance(of: $0) }
    fileSystem.onOpen { file in
      runner.opened(file)
      filler.opened(file)
    }
    runner.start()
    filler.start()
  }

  /// Ends what runs; what the engine was asked for it ends itself.
  public func shutdown() {
    board.shutdown()
    filler.stop()
    runner.stop()
  }

  /// What was filled of what may be.
  public var fill: FillReport { filler.report }

  // MARK: Orders

  /// Why an order was not taken.
  public enum OrderFailure: Error, Sendable, CustomStringConvertible {
    case tooLarge, tooMany

    public var description: String {
      switch self {
      case .tooLarge:
        "an order has \(OrderText.byteLimit >> 20) MiB and \(OrderText.lineLimit) lines at most"
      case .tooMany: "\(OrderBook.limit) orders are in force: end one"
      }
    }
  }

  /// Bytes that an order may have.
  public static let orderLimit = OrderText.byteLimit
  /// Bytes of an order's name.
  public static let orderNameLimit = 100

  /// Takes an order: it replaces the last of the same name; an empty one ends it.
  public func take(order bytes: [UInt8], name: String) throws(OrderFailure) {
    let text: OrderText
    do throws(OrderText.Failure) {
      guard bytes.count <= OrderText.byteLimit else { throw .tooManyLines }
      text = try OrderText(bytes, mountPoint: mountPoint)
    } catch { throw .tooLarge }
    guard runner.book.take(text, name: name) else { throw .tooMany }
    metrics.prefetch.orders.add()
    log.info("order taken", metadata: ["name": "\(name)", "files": "\(text.count)"])
    runner.call()
  }

  /// False: there is none of that name.
  public func removeOrder(_ name: String) -> Bool { runner.book.remove(name) }

  public var orderNames: [String] { runner.book.names }

  public var orders: [OrderReport] {
    runner.book.state.withLock { state in
      state.orders.sorted { $0.key < $1.key }.map { name, running in
        OrderReport(
          name: name, files: running.text.count, opened: running.order.openedCount,
          ahead: running.order.cursor, bytesAhead: running.order.ahead, late: running.order.late,
          unknown: running.order.known.count { $0 == nil })
      }
    }
  }
}

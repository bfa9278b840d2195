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
  let mountPoint: String
  private let filler: Filler
  let runner: OrderRunner
  let board = JobBoard()
  /// Jobs begin one after the other, so that what is found out before still holds.
  let beginning = Lock(())
  /// Orders are parsed one after the other: they are large.
  let parsing = Lock(())
  let checking = OrderChecking()
  /// Takes orders for those who must not block.
  let orderTaker = WorkerPool(named: "order-taker", threads: 1, queueLimit: 256)

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
    engine.onNextUse(
      { runner.book.distance(of: $0) }, after: { runner.book.distance(of: $0, isAfter: true) })
    engine.onDiskRoom { runner.call() }
    fileSystem.onOpen { file in
      runner.opened(file)
      filler.opened(file)
    }
    runner.start()
    filler.start()
  }

  /// Ends what runs; what the engine was asked for it ends itself.
  public func shutdown() {
    checking.stop()
    board.shutdown()
    orderTaker.shutdown()
    filler.stop()
    runner.stop()
  }

  /// What was filled of what may be.
  public var fill: FillReport { filler.report }
}

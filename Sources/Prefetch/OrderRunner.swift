/// Fetches what orders say comes next, ahead of their readers, in exactly that order.
///
/// One thread: it finds out which versions the lines are, then keeps a window of each order's bytes on its
/// way or here.
import FileSystem
import Logging
import Metrics
import ObjectStore
import Posix
import ReadEngine
import SystemPackage

final class OrderRunner: Sendable {
  private struct State {
    var isStopping = false
    var isCalled = false
    var underWay = 0
  }

  let book = OrderBook()
  private let fileSystem: FileSystem
  private let engine: ReadEngine
  private let metrics: Metrics
  private let window: UInt64
  private let log: Logger
  private let state = Monitor(State())
  private let thread = Lock<Thread?>(nil)

  /// Fetches handed to the engine and not done.
  private static let width = 96
  /// Without news the thread looks by itself.
  private static let rest = Duration.milliseconds(50)

  init(
    _ fileSystem: FileSystem, _ engine: ReadEngine, _ options: PrefetchOptions, _ metrics: Metrics,
    _ log: Logger
  ) {
    self.fileSystem = fileSystem
    self.engine = engine
    self.metrics = metrics
    self.log = log
    window = options.orderWindow
  }

  func start() {
    thread.withLock { $0 = Thread(named: "order") { [self] in run() } }
  }

  func stop() {
    state.signal(all: true) { $0.isStopping = true }
    thread.withLock { $0 }?.join()
  }

  /// Something has changed: an order was taken, a file was opened.
  func call() { state.signal { $0.isCalled = true } }

  /// Called for each open: short.
  func opened(_ file: OpenedFile) {
    let (isNews, late) = book.opened(file.hash)
    if late > 0 { metrics.prefetch.orderedLate.add(late) }
    if isNews { call() }
  }

  private func run() {
    while true {
      let stops: Bool = state.withLock { state in
        state.isCalled = false
        return state.isStopping
      }
      if stops { return }
      var isBusy = false
      for name in book.names {
        if learn(name) { isBusy = true }
        fetch(name)
      }
      if isBusy { continue }
      let until = Instant.now + (book.isActive ? Self.rest : .seconds(1))
      let _: Void? = state.wait(until: until) { $0.isCalled || $0.isStopping ? () : nil }
    }
  }

  /// Looks the next lines up. True: there are more.
  private func learn(_ name: String) -> Bool {
    let task: (number: Int, paths: [[UInt8]])? = book.state.withLock { state in
      guard let running = state.orders[name] else { return nil }
      let first = running.order.known.count
      let last = min(running.text.count, first + VersionLookup.step)
      return first == last ? nil : (running.number, (first..<last).map { running.text[$0] })
    }
    guard let task else { return false }
    let items = lookUp(task.paths)
    return book.state.withLock { state in
      guard state.orders[name]?.number == task.number else { return true }
      let late = state.orders[name]!.order.late
      for item in items { state.orders[name]!.order.learn(item) }
      metrics.prefetch.orderedLate.add(state.orders[name]!.order.late - late)
      metrics.prefetch.orderUnknown.add(items.count { $0 == nil })
      return state.orders[name]!.order.known.count < state.orders[name]!.text.count
    }
  }

  private func lookUp(_ paths: [[UInt8]]) -> [EpochOrder.Item?] {
    let versions = versions(of: paths)
    return versions.map { version in
      version.map { EpochOrder.Item(hash: engine.hash(of: $0), size: $0.size) }
    }
  }

  private func versions(of paths: [[UInt8]]) -> [ObjectVersion?] {
    VersionLookup(fileSystem: fileSystem)
      .versions(of: paths) { state.withLock { $0.isStopping } }
      .map { try? $0.get() }
  }

  private func fetch(_ name: String) {
    while state.withLock({ $0.underWay < Self.width && !$0.isStopping }) {
      let next: (path: [UInt8], item: EpochOrder.Item)? = book.state.withLock { state in
        guard let next = state.orders[name]?.order.takeNext(window: window) else { return nil }
        return (state.orders[name]!.text[next.line], next.item)
      }
      guard let next else { return }
      guard let version = versions(of: [next.path])[0], version.size > 0 else { continue }
      if engine.isWhole(version) { continue }
      state.withLock { $0.underWay += 1 }
      engine.prefetch(version, .planned) { [self] outcome in
        if case .fetched(let bytes) = outcome, bytes > 0 {
          metrics.prefetch.orderedFiles.add()
          metrics.prefetch.orderedBytes.add(bytes)
        }
        state.signal { state in
          state.underWay -= 1
          if state.underWay < Self.width / 2 { state.isCalled = true }
        }
      }
    }
  }
}

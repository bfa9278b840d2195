/// Fetches what orders say comes next, ahead of their readers, in exactly that order.
///
/// One thread: it finds out which versions the lines are, then keeps a window of each order's bytes on its
/// way or here. A range is sent once the disk tier has reserved its room; without room the order waits.
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
    /// Large files that were opened last, by hash: their readers are followed.
    var opened: [UInt64: ObjectVersion] = [:]
  }

  let book: OrderBook
  private let fileSystem: FileSystem
  private let engine: ReadEngine
  private let metrics: Metrics
  private let window: UInt64
  private let windowInMemory: UInt64
  private let part: UInt64
  private let log: Logger
  private let state = Monitor(State())
  private let thread = Lock<ServiceThread?>(nil)

  /// Fetches handed to the engine and not done.
  private static let width = 96
  /// Large files whose readers are followed.
  private static let followed = 2 * EpochOrder.readingLimit
  /// Without news the thread looks by itself.
  private static let rest = Duration.milliseconds(50)
  /// A part of a large file is a quarter of the window, so that several files have one, and half of what may be fetched
  /// into memory alone, bytes.
  private static let parts: ClosedRange<UInt64> = 4 << 20...EpochOrder.usualPart

  init(
    _ fileSystem: FileSystem, _ engine: ReadEngine, _ options: PrefetchOptions, _ metrics: Metrics,
    _ log: Logger
  ) {
    self.fileSystem = fileSystem
    self.engine = engine
    self.metrics = metrics
    self.log = log
    window = options.orderWindow
    windowInMemory = options.windowInMemory
    let most = min(Self.parts.upperBound, max(1 << 20, options.windowInMemory / 2))
    part = min(most, max(Self.parts.lowerBound, options.orderWindow / 4))
    book = OrderBook(memoryLimit: options.orderMemory, part: part)
  }

  func start() {
    thread.withLock { $0 = ServiceThread(named: "order") { [self] in run() } }
    ensureThread()
  }

  func stop() {
    state.signal(all: true) { $0.isStopping = true }
    thread.withLock { $0 }?.stop()?.join()
  }

  /// What could not be started for want of a thread is started with the next news.
  private func ensureThread() { thread.withLock { $0 }?.ensure() }

  /// Something has changed: an order was taken, a file was opened, the disk has room.
  func call() {
    ensureThread()
    state.signal { $0.isCalled = true }
  }

  /// Called for each open: short.
  func opened(_ file: OpenedFile) {
    // Before the book knows of it, or its reader would be taken for one that has closed it.
    let isLarge = file.version.size > part
    if isLarge {
      state.withLock { state in
        if state.opened.count < Self.followed { state.opened[file.hash] = file.version }
      }
    }
    let (isNews, late) = book.opened(file.hash)
    if late > 0 { metrics.prefetch.orderLateOpens.add(late) }
    if isNews { call() } else if isLarge { state.withLock { $0.opened[file.hash] = nil } }
  }

  private func run() {
    while true {
      let stops: Bool = state.withLock { state in
        state.isCalled = false
        return state.isStopping
      }
      if stops { return }
      var isBusy = false
      metrics.prefetch.orderMemory.set(Int64(clamping: book.memory))
      followReaders()
      for name in book.names {
        if learn(name) { isBusy = true }
        fetch(name)
      }
      if isBusy { continue }
      let until = Instant.now + (book.isActive ? Self.rest : .seconds(1))
      let _: Void? = state.wait(until: until) { $0.isCalled || $0.isStopping ? () : nil }
    }
  }

  /// How far the readers of large files have come.
  private func followReaders() {
    let opened = state.withLock { $0.opened }
    if opened.isEmpty { return }
    var positions: [UInt64: UInt64] = [:]
    for (hash, version) in opened { positions[hash] = engine.readPosition(of: version) }
    book.advance(positions)
    state.withLock { state in
      for hash in opened.keys where positions[hash] == nil { state.opened[hash] = nil }
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
      metrics.prefetch.orderLateOpens.add(state.orders[name]!.order.late - late)
      metrics.prefetch.orderPathsNotFound.add(items.count { $0 == nil })
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

  // MARK: Fetching

  /// A range that comes next in an order.
  private struct Next {
    var name: String
    var number: Int
    var path: [UInt8]
    var turn: EpochOrder.Turn
  }

  private func fetch(_ name: String) {
    while state.withLock({ $0.underWay < Self.width && !$0.isStopping }) {
      guard let next = next(name), fetch(next) else { return }
    }
  }

  private func next(_ name: String) -> Next? {
    book.state.withLock { state in
      guard let turn = state.orders[name]?.order.next(window: window) else { return nil }
      let running = state.orders[name]!
      return Next(
        name: name, number: running.number, path: running.text[turn.line], turn: turn)
    }
  }

  /// False: there is no room for it now.
  private func fetch(_ next: Next) -> Bool {
    guard let version = versions(of: [next.path])[0], version.size > 0 else {
      change(next) { $0.drop(next.turn) }
      return true
    }
    let bytes = next.turn.bytes.clamped(to: 0..<version.size)
    if engine.isWhole(version) {
      change(next) { _ = $0.take(next.turn) }
      return true
    }
    state.withLock { $0.underWay += 1 }
    let isSent = engine.prefetchPlanned(
      version, bytes, inMemory: staysInMemory(bytes)
    ) { [self] outcome in ended(outcome, isFirst: bytes.lowerBound == 0) }
    guard isSent else {
      state.withLock { $0.underWay -= 1 }
      return false
    }
    change(next) { _ = $0.take(next.turn) }
    return true
  }

  /// Without room on the disk: a share of the pool, over all orders.
  private func staysInMemory(_ bytes: Range<UInt64>) -> Bool {
    let ahead = book.ahead
    return !engine.hasDisk || EpochOrder.sum(ahead, UInt64(bytes.count)) <= windowInMemory
  }

  private func change(_ next: Next, _ body: (inout EpochOrder) -> Void) {
    book.state.withLock { state in
      guard state.orders[next.name]?.number == next.number else { return }
      body(&state.orders[next.name]!.order)
    }
  }

  private func ended(_ outcome: PrefetchOutcome, isFirst: Bool) {
    if case .fetched(let bytes) = outcome, bytes > 0 {
      if isFirst { metrics.prefetch.orderedFiles.add() }
      metrics.prefetch.orderedBytes.add(bytes)
    }
    state.signal { state in
      state.underWay -= 1
      if state.underWay < Self.width / 2 { state.isCalled = true }
    }
  }
}

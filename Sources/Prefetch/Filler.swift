/// Fetches the rest of a data set that is being scanned, with the bandwidth that readers leave free.
///
/// One thread. The pattern determines what is worth prefetching. The thread traverses the listings and
/// keeps as many fetches queued as the engine would send. These go after everything that has a waiter.
import FileSystem
import Logging
import Metrics
import ObjectStore
import Posix
import ReadEngine
import SystemPackage

final class Filler: Sendable {
  private struct State {
    var isStopping = false
    /// Something happened that is worth a look.
    var isCalled = false
    var underWay = 0
    /// Bytes of them: what is not on disk yet, and will be.
    var bytesUnderWay: UInt64 = 0
    /// Filled or under way, of each target, bytes.
    var filled: [WalkPattern.Target: UInt64] = [:]
  }

  /// When a target was gone through, and for how long it then rests.
  private struct Pass {
    var at: Instant
    var rest: Duration
    var isOver: Bool { Instant.now - at > rest }
  }

  private let fileSystem: FileSystem
  private let engine: ReadEngine
  private let metrics: Metrics
  private let policy: FillPolicy
  private let budget: FillBudget
  private let log: Logger
  /// True while something better is known than this can guess.
  private let rests: @Sendable () -> Bool
  private let pattern: Lock<WalkPattern>
  private let state = Monitor(State())
  private let thread = Lock<ServiceThread?>(nil)

  /// Between two looks at what may have changed by itself.
  private static let rest = Duration.milliseconds(20)

  init(
    _ fileSystem: FileSystem, _ engine: ReadEngine, _ options: PrefetchOptions, _ metrics: Metrics,
    _ log: Logger, rests: @escaping @Sendable () -> Bool
  ) {
    self.fileSystem = fileSystem
    self.engine = engine
    self.metrics = metrics
    self.log = log
    self.rests = rests
    policy = options.fill
    budget = FillBudget(multiple: options.fill == .all ? nil : options.fillMultiple)
    pattern = Lock(WalkPattern(root: fileSystem.rootFolder))
  }

  func start() {
    guard policy != .off else { return }
    thread.withLock { $0 = ServiceThread(named: "fill") { [self] in run() } }
    ensureThread()
  }

  func stop() {
    state.signal(all: true) { $0.isStopping = true }
    thread.withLock { $0 }?.stop()?.join()
  }

  /// What could not be started for want of a thread is started with the next news.
  private func ensureThread() { thread.withLock { $0 }?.ensure() }

  /// Called for each open: short.
  func opened(_ file: OpenedFile) {
    guard policy == .auto else { return }
    let isNews = pattern.withLock {
      $0.opened(
        file.name, in: file.folder, hash: file.hash, size: file.version.size,
        readSoFar: metrics.requestedBytes, at: .now)
    }
    guard isNews else { return }
    ensureThread()
    state.signal { $0.isCalled = true }
  }

  var report: FillReport {
    FillReport(
      policy: policy.rawValue, budget: policy == .auto ? budget.multiple : nil,
      backgroundBytes: metrics.prefetch.backgroundBytes.count,
      requestedBytes: metrics.requestedBytes)
  }

  private var isStopping: Bool { state.withLock { $0.isStopping } }

  private func run() {
    if policy == .all { return fillAll() }
    // What was gone through, and when: it is gone through again when its files come back, which an
    // eviction or new files make worth while.
    var passes: [WalkPattern.Target: Pass] = [:]
    while !isStopping {
      let targets = pattern.withLock { $0.targets(at: .now) }
      let next = targets.first { passes[$0]?.isOver ?? true }
      guard let next else {
        let _: Void? = state.wait(until: .now + (targets.isEmpty ? .seconds(1) : Self.rest)) {
          guard $0.isCalled || $0.isStopping else { return nil }
          $0.isCalled = false
          return ()
        }
        continue
      }
      metrics.prefetch.prefetchedDirectories.add()
      log.info("prefetching", metadata: ["directory": "\(next.folder)", "tree": "\(next.isTree)"])
      engine.fills(next.folder)
      let before = filled(of: next)
      let isDone = fill(next, while: { [self] in isAlive(next) })
      engine.fills(nil)
      if isDone {
        // Where there was nothing to do, it is looked at ever more seldom: its folders are listed for it.
        let isIdle = filled(of: next) == before
        let rest =
          isIdle ? min((passes[next]?.rest ?? Self.again) * 2, Self.longestRest) : Self.again
        passes[next] = Pass(at: .now, rest: rest)
      } else if isAlive(next) {
        waitForRoom()
      }
      forget(&passes)
    }
  }

  /// The cache is full: room comes as slowly as it is asked for, or is made by hand.
  private func waitForRoom() {
    let _: Void? = state.wait(until: .now + .seconds(1)) { $0.isStopping ? () : nil }
  }

  private func filled(of target: WalkPattern.Target) -> UInt64 {
    state.withLock { $0.filled[target] ?? 0 }
  }

  private func forget(_ passes: inout [WalkPattern.Target: Pass]) {
    if passes.count > Self.remembered { passes = passes.filter { !$0.value.isOver } }
    let filled = state.withLock { $0.filled.count }
    if filled > Self.remembered {
      let known = pattern.withLock { $0.targets(at: .now) }
      state.withLock { state in state.filled = state.filled.filter { known.contains($0.key) } }
    }
  }

  private static let remembered = 256

  private func fillAll() {
    let walk = TreeWalk(
      fileSystem, TreeWalk.Scope(folder: fileSystem.rootFolder, extent: .tree),
      isStopped: { [self] in isStopping })
    while let files = walk.next() {
      // They are not reported here, and there may be many.
      _ = walk.takeFindings()
      for file in files {
        while !fill(file, of: nil, while: { [self] in !isStopping }) {
          if isStopping { return }
          waitForRoom()
        }
      }
    }
  }

  /// A target that was gone through is looked at again after this, and after twice as long each time that there was
  /// nothing to do.
  private static let again = Duration.seconds(60)
  private static let longestRest = Duration.seconds(3600)

  private func isAlive(_ target: WalkPattern.Target) -> Bool {
    !isStopping && pattern.withLock { $0.isAlive(target, at: .now) }
  }

  /// Goes through a target from where its readers are, and then from its start. False: it was left before
  /// its end.
  @discardableResult
  private func fill(_ target: WalkPattern.Target, while isWanted: @escaping () -> Bool) -> Bool {
    let activity = pattern.withLock { $0.activity(of: target) }
    for isFirst in [true, false] {
      let front = isFirst ? front(of: target, activity) : 0
      if !isFirst, target.isTree || front == 0 && activity == nil { break }
      let scope = TreeWalk.Scope(
        folder: target.folder, extent: target.isTree ? .treeBelow : .folder, index: front,
        first: target.isTree ? activity?.latest : nil)
      let walk = TreeWalk(fileSystem, scope, isStopped: { !isWanted() })
      while let files = walk.next() {
        _ = walk.takeFindings()
        for file in files where pattern.withLock({ $0.isLike(file.size, target) }) {
          guard fill(file, of: target, while: isWanted) else { return false }
        }
      }
      if !isWanted() { return false }
    }
    return true
  }

  /// Where in a folder its readers are, if they go through it in its order.
  private func front(of target: WalkPattern.Target, _ activity: WalkPattern.Activity?) -> Int {
    guard !target.isTree, let activity, let names = activity.names,
      let least = fileSystem.index(of: names.least, in: target.folder),
      let greatest = fileSystem.index(of: names.greatest, in: target.folder),
      greatest - least <= activity.opens + Self.spread
    else { return 0 }
    return greatest + 1
  }

  /// Files that the workers of a loader are apart, in a folder that is read in its order.
  private static let spread = 1024

  /// False: it is no longer wanted, or there is no room for more.
  private func fill(
    _ file: ObjectVersion, of target: WalkPattern.Target?, while isWanted: () -> Bool
  ) -> Bool {
    if file.size == 0 || engine.isWhole(file) { return true }
    while true {
      let (underWay, bytes) = state.withLock { ($0.underWay, $0.bytesUnderWay) }
      let hasRoom = engine.room >= file.size.addingSaturated(bytes)
      if !hasRoom, underWay == 0 { return false }
      if hasRoom, engine.fillAppetite > 0, !rests(), isPaidFor(file.size, target, bytes) { break }
      guard restOrEnd(isWanted) else { return false }
    }
    state.withLock { state in
      state.underWay += 1
      state.bytesUnderWay.addSaturated(file.size)
      if let target { state.filled[target, default: 0].addSaturated(file.size) }
    }
    engine.prefetch(file, .fill) { [self] outcome in ended(file, outcome) }
    return true
  }

  /// Within the multiple of what was asked, of this target and of the whole mount.
  private func isPaidFor(
    _ size: UInt64, _ target: WalkPattern.Target?, _ bytesUnderWay: UInt64
  ) -> Bool {
    let read = metrics.requestedBytes
    let filled = metrics.prefetch.backgroundBytes.count.addingSaturated(bytesUnderWay)
    guard budget.allows(size, filled: filled, asked: read) else { return false }
    guard let target else { return true }
    let asked = pattern.withLock { $0.activity(of: target)?.asked(readSoFar: read) ?? 0 }
    return budget.allows(size, filled: self.filled(of: target), asked: asked)
  }

  private func ended(_ file: ObjectVersion, _ outcome: PrefetchOutcome) {
    if case .fetched(let bytes) = outcome, bytes > 0 {
      metrics.prefetch.backgroundFiles.add()
      metrics.prefetch.backgroundBytes.add(bytes)
    }
    let isWorthIt = engine.fillAppetite >= 12
    let settle = { (state: inout State) in
      state.underWay -= 1
      state.bytesUnderWay.subtractSaturated(file.size)
    }
    // One wake-up for several: the thread looks by itself soon enough.
    if isWorthIt {
      state.signal {
        settle(&$0)
        $0.isCalled = true
      }
    } else {
      state.withLock { settle(&$0) }
    }
  }

  /// Waits a moment, or less. False: it is no longer wanted.
  private func restOrEnd(_ isWanted: () -> Bool) -> Bool {
    let _: Void? = state.wait(until: .now + Self.rest) {
      guard $0.isCalled || $0.isStopping else { return nil }
      $0.isCalled = false
      return ()
    }
    return isWanted()
  }
}

extension Metrics {
  /// Bytes that readers were given, as far as it is seen here.
  var requestedBytes: UInt64 {
    reads.bytesFromMemory.count + reads.bytesFromDisk.count + reads.bytesFromStore.count
      + fuse.passthroughBytes.count
  }
}

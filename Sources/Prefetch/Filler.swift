/// Fetches the rest of a data set that is being walked, with what readers leave of the line.
///
/// One thread. It asks the pattern what is worth filling, walks its listings and keeps as many fetches
/// waiting as the engine would send: these go after everything that somebody waits for.
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
  private let thread = Lock<Thread?>(nil)

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
    budget = FillBudget(multiple: options.fill == .always ? nil : options.fillMultiple)
    pattern = Lock(WalkPattern(root: fileSystem.rootFolder))
  }

  func start() {
    guard policy != .off else { return }
    thread.withLock { $0 = Thread(named: "fill") { [self] in run() } }
  }

  func stop() {
    state.signal(all: true) { $0.isStopping = true }
    thread.withLock { $0 }?.join()
  }

  /// Called for each open: short.
  func opened(_ file: OpenedFile) {
    guard policy == .auto else { return }
    let isNews = pattern.withLock {
      $0.opened(
        file.name, in: file.folder, hash: file.hash, size: file.version.size, at: .now)
    }
    if isNews { state.signal { $0.isCalled = true } }
  }

  private var isStopping: Bool { state.withLock { $0.isStopping } }

  private func run() {
    if policy == .always { return fillAll() }
    // What was gone through, and when: it is gone through again when its files come back, which an
    // eviction or new files make worth while.
    var doneAt: [WalkPattern.Target: Instant] = [:]
    while !isStopping {
      let targets = pattern.withLock { $0.targets(at: .now) }
      let next = targets.first { target in
        doneAt[target].map { Instant.now - $0 > Self.again } ?? true
      }
      guard let next else {
        let _: Void? = state.wait(until: .now + (targets.isEmpty ? .seconds(1) : Self.rest)) {
          guard $0.isCalled || $0.isStopping else { return nil }
          $0.isCalled = false
          return ()
        }
        continue
      }
      metrics.prefetch.fillTargets.add()
      log.info("filling", metadata: ["folder": "\(next.folder)", "tree": "\(next.isTree)"])
      engine.fills(next.folder)
      let isDone = fill(next, while: { [self] in isAlive(next) })
      engine.fills(nil)
      if isDone {
        doneAt[next] = .now
      } else if isAlive(next) {
        // The cache is full: room comes as slowly as it is asked for.
        let _: Void? = state.wait(until: .now + .seconds(1)) { $0.isStopping ? () : nil }
      }
      if doneAt.count > 256 { doneAt = doneAt.filter { Instant.now - $0.value < Self.again } }
    }
  }

  private func fillAll() {
    let walk = TreeWalk(
      fileSystem, folder: fileSystem.rootFolder, .tree, isStopped: { [self] in isStopping })
    while let files = walk.next() {
      for file in files { guard fill(file, while: { [self] in !isStopping }) else { return } }
    }
  }

  /// A target that was gone through is looked at again after this.
  private static let again = Duration.seconds(60)

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
      let walk = TreeWalk(
        fileSystem, folder: target.folder, target.isTree ? .treeBelow : .folder, from: front,
        first: target.isTree ? activity?.latest : nil, isStopped: { !isWanted() })
      while let files = walk.next() {
        for file in files where pattern.withLock({ $0.isLike(file.size, target) }) {
          guard fill(file, while: isWanted) else { return false }
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
  private func fill(_ file: ObjectVersion, while isWanted: () -> Bool) -> Bool {
    let held = engine.holding(of: file)
    if file.size == 0 || held.disk >= file.size || held.memory >= file.size { return true }
    while true {
      let (underWay, bytes) = state.withLock { ($0.underWay, $0.bytesUnderWay) }
      let filled = metrics.prefetch.filledBytes.count + bytes
      if engine.room < file.size + bytes { return restOrEnd(isWanted) && underWay > 0 }
      if engine.fillAppetite > 0, !rests(),
        budget.allows(file.size, filled: filled, asked: metrics.askedBytes)
      {
        break
      }
      guard restOrEnd(isWanted) else { return false }
    }
    state.withLock { state in
      state.underWay += 1
      state.bytesUnderWay += file.size
    }
    engine.prefetch(file, .fill) { [self] outcome in ended(file, outcome) }
    return true
  }

  private func ended(_ file: ObjectVersion, _ outcome: PrefetchOutcome) {
    if case .fetched(let bytes) = outcome, bytes > 0 {
      metrics.prefetch.filledFiles.add()
      metrics.prefetch.filledBytes.add(bytes)
    }
    let isWorthIt = engine.fillAppetite >= 12
    let settle = { (state: inout State) in
      state.underWay -= 1
      state.bytesUnderWay -= file.size
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
  var askedBytes: UInt64 {
    reads.bytesFromMemory.count + reads.bytesFromDisk.count + reads.bytesFromStore.count
      + front.passthroughBytes.count
  }
}

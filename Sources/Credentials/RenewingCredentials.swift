import Glibc
import Logging
public import ObjectStore
import Posix
import Transport

/// Keys of a source, asked for again ahead of their expiry: by one thread, while requests go on with those
/// that still hold. Keys that a store refuses are asked for at once, and requests wait for that.
public final class RenewingCredentials: CredentialsProvider {
  private struct State {
    var keys: Credentials?
    /// Seconds since 1970.
    var renewAt: Int64?
    var isForced = false
    /// A store has refused these, and the source had no others.
    var refused: Credentials?
    var refusedAt = Instant(nanoseconds: 0)
    var failure: StoreError?
    var failures = 0
    var isStopping = false
    /// Given when the renewal that is under way, or the next one, has ended well or not.
    var renewed = ReadinessSignal()

    /// The signal to give, outside the lock, to those who found no keys so far.
    mutating func nextSignal() -> ReadinessSignal {
      defer { renewed = ReadinessSignal() }
      return renewed
    }
  }

  /// A source that gave the refused keys again is not asked anew before this is over.
  private static let refusalMemory: Duration = .seconds(30)
  /// One try of a source.
  static let fetchTimeout: Duration = .seconds(60)

  private let source: any CredentialsSource
  private let log: Logger
  private let state: Monitor<State>
  private let thread: ServiceThread

  /// `first`: what the source gave just now.
  init(_ source: any CredentialsSource, first: Credentials, log: Logger) {
    self.source = source
    self.log = log
    var initial = State(keys: first)
    var random = SystemRandomNumberGenerator()
    let now = Int64(time(nil))
    initial.renewAt = first.expires.flatMap {
      RenewalSchedule.renewal(expires: $0, now: now, random: &random)
    }
    let state = Monitor(initial)
    self.state = state
    // It is ended by `shutdown` and holds nothing that must not outlive the owner.
    thread = ServiceThread(named: "keys") { Self.run(source, state, log) }
    thread.ensure()
  }

  deinit { shutdown() }

  public func current() throws(StoreError) -> CredentialsNow {
    thread.ensure()
    return try state.withLock { state throws(StoreError) in
      if let keys = state.keys, !state.isForced {
        // Keys that our clock called expired when they were new are believed.
        guard let expires = keys.expires, state.renewAt != nil else { return .keys(keys) }
        if Int64(time(nil)) < expires { return .keys(keys) }
      }
      if let failure = state.failure, !failure.isPassing { throw failure }
      return .renewing(state.failure?.description ?? source.name, state.renewed)
    }
  }

  public func renew(insteadOf refused: Credentials) -> Bool {
    state.signal(all: true) { state in
      guard !state.isStopping, source.isRenewable else { return false }
      guard let keys = state.keys, keys.areSame(as: refused) else { return true }
      if let known = state.refused, known.areSame(as: refused),
        Instant.now < state.refusedAt + Self.refusalMemory
      {
        return false
      }
      state.isForced = true
      return true
    }
  }

  public func shutdown() {
    state.signal(all: true) { $0.isStopping = true }
    thread.stop()
  }

  // MARK: The thread

  private static func run(
    _ source: any CredentialsSource, _ state: Monitor<State>, _ log: Logger
  ) {
    while true {
      let wake = state.withLock { wakeUp($0) }
      let mayGo = state.wait(until: wake) { state in
        state.isStopping ? false : isDue(state) ? true : nil
      }
      if mayGo == false { return }
      guard state.withLock({ isDue($0) }) else { continue }
      fetch(source, state, log)
    }
  }

  private static func isDue(_ state: State) -> Bool {
    state.isForced || state.renewAt.map { Int64(time(nil)) >= $0 } ?? false
  }

  /// The clock of the wall may be set while we sleep, so it is looked at every minute.
  private static func wakeUp(_ state: State) -> Instant {
    guard let renewAt = state.renewAt else { return .now + .seconds(3600) }
    let left = max(0, renewAt - Int64(time(nil)))
    return .now + .seconds(min(60, left)) + .milliseconds(5)
  }

  private static func fetch(
    _ source: any CredentialsSource, _ state: Monitor<State>, _ log: Logger
  ) {
    let result: Result<Credentials, StoreError>
    do throws(StoreError) {
      result = .success(try source.fetch(deadline: .now + fetchTimeout))
    } catch {
      result = .failure(error)
    }
    var random = SystemRandomNumberGenerator()
    let now = Int64(time(nil))
    switch result {
    case .success(let keys):
      let signal = state.withLock { state -> ReadinessSignal in
        let old = state.keys
        if state.isForced, let old, old.areSame(as: keys) {
          state.refused = keys
          state.refusedAt = .now
        }
        state.keys = keys
        state.isForced = false
        state.failure = nil
        state.failures = 0
        state.renewAt = keys.expires.flatMap {
          RenewalSchedule.renewal(expires: $0, now: now, random: &random)
        }
        return state.nextSignal()
      }
      signal.give()
      log.debug("renewed \(keys)")
    case .failure(let error):
      let (wait, signal) = state.withLock { state -> (Double, ReadinessSignal) in
        state.failure = error
        state.failures += 1
        let left = state.isForced ? 0 : Double((state.keys?.expires ?? now) - now)
        let wait = RenewalSchedule.wait(failures: state.failures, left: left, random: &random)
        return (wait, state.nextSignal())
      }
      // Requests that wait end, or wait on for what this error says.
      signal.give()
      log.warning("credentials cannot be renewed, retrying: \(error)")
      // Stopping ends this wait too, so no thread is delayed by it.
      _ = state.wait(until: .now + .nanoseconds(Int64(wait * 1e9))) { $0.isStopping ? true : nil }
    }
  }
}

extension StoreError {
  /// It may be otherwise in a moment.
  var isPassing: Bool {
    switch kind {
    case .unreachable, .timedOut, .serverFailure, .throttled: true
    default: false
    }
  }
}

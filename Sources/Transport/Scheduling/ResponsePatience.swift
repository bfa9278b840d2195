import Posix

/// How long a response may take: when it is slow, so that a hedged request would help, and when it is given up.
struct ResponsePatience: Sendable {
  private let hedges: Bool
  private let adapts: Bool
  private var firstBytes = TTFBTracker()
  private var hedging = HedgePolicy()

  init(_ configuration: TransportConfiguration) {
    hedges = configuration.hedges
    // With a limit on bytes a transfer is silent for as long as its bytes are not due.
    adapts = configuration.adaptsTimeouts && configuration.maxBytesPerSecond == nil
  }

  // MARK: What happened

  mutating func requested() { hedging.requested() }

  mutating func throttled(now: Instant) { hedging.throttled(now: now) }

  mutating func answered(_ size: TTFBTracker.SizeClass, after wait: Duration) {
    firstBytes.answered(size, after: wait)
  }

  // MARK: What follows

  /// How long an attempt of the exchange may be silent.
  func watch(_ exchange: ScheduledExchange, now: Instant) -> ProgressWatch {
    func timeout(_ limit: Duration) -> Duration {
      adapts
        ? firstBytes.timeout(exchange.size, failures: exchange.retry.failures, limit: limit)
        : limit
    }
    return ProgressWatch(
      firstByteTimeout: timeout(exchange.plan.limits.firstByteTimeout),
      stallTimeout: timeout(exchange.plan.limits.stallTimeout), now: now)
  }

  /// From when on a response that has not come is slow, and a hedged request would help; nil: it would not, or is
  /// not wanted.
  func slowFrom(_ exchange: ScheduledExchange, _ race: TransferRace) -> Instant? {
    guard hedges, !race.isDecided, exchange.plan.mayBeHedged,
      let slow = HedgePolicy.slow(firstBytes.usual(exchange.size))
    else { return nil }
    return race.first.startedAt + slow
  }

  /// When a running attempt is to be checked next. `isAwaited`: a reader waits for it now.
  func nextCheck(
    _ exchange: ScheduledExchange, _ race: TransferRace, now: Instant, isAwaited: () -> Bool
  ) -> Instant {
    let usual = now + race.watch.interval
    guard let slow = slowFrom(exchange, race) else { return usual }
    if slow > now { return min(usual, slow) }
    // Past it and not hedged: there was no budget, or there is no waiter yet.
    return isAwaited() ? usual : min(usual, now + (slow - race.first.startedAt))
  }

  /// Pays for a hedged request; false: there may be none now.
  mutating func withdrawHedge(now: Instant) -> Bool { hedging.withdraw(now: now) }
}

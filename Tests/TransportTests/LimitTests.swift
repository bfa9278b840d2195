import Posix
import Testing

@testable import Transport

/// What is asked of a store at once and by the second: pure, by the thousand seeds.
struct LimitTests {
  /// A store that takes `capacity` requests at once and refuses one more. Each round all that may run do.
  @Test func concurrencyFindsTheLevelOfTheStoreAndFindsItAgain() {
    for seed in 0..<300 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      var limit = ConcurrencyLimit(most: 128)
      var now = Instant(nanoseconds: 1_000_000_000)
      var capacity = Int.random(in: 6...100, using: &random)
      for change in 0..<3 {
        if change > 0 { capacity = Int.random(in: 6...100, using: &random) }
        var served = 0
        var possible = 0
        for round in 0..<600 {
          let sentAt = now
          now = now + .milliseconds(20)
          let running = limit.limit
          for index in 0..<running {
            if index < capacity {
              limit.succeeded(running: running)
            } else {
              limit.throttled(running: running, sentAt: sentAt, now: now)
            }
          }
          #expect(limit.limit >= ConcurrencyLimit.least && limit.limit <= 128)
          // After as many rounds as it takes to climb from the least to the highest.
          if round >= 300 {
            served += min(running, capacity)
            possible += capacity
            #expect(running <= capacity + 2, "seed \(seed)")
          }
        }
        #expect(Double(served) >= 0.75 * Double(possible), "seed \(seed) of \(capacity)")
      }
    }
  }

  @Test func refusalsOfOneMomentCountOnce() {
    var limit = ConcurrencyLimit(most: 100)
    let sent = Instant(nanoseconds: 1_000_000_000)
    for index in 1...50 {
      limit.throttled(running: 100, sentAt: sent, now: sent + .milliseconds(index))
    }
    #expect(limit.limit == 70)
  }

  /// Whatever comes when: over any second no more leaves than is allowed, but for a tenth of a second's
  /// worth and the request that leaves the debt.
  @Test func theSumIsKeptOverEverySecond() {
    for seed in 0..<500 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let requestRate = Double(Int.random(in: 5...200, using: &random))
      let byteRate = Int.random(in: 100_000...10_000_000, using: &random)
      let start = Instant(nanoseconds: 1_000_000_000)
      var now = start
      var limits = RateLimiter(
        requestsPerSecond: requestRate, bytesPerSecond: byteRate, now: now)
      var sent = 0.0
      var bytes = 0.0
      let largest = byteRate / 2
      for _ in 0..<500 {
        let isAwaited = Bool.random(using: &random)
        let earliest = limits.earliest(isAwaited: isAwaited, now: now)
        #expect(earliest >= now)
        // It is no later than it must be: a debt is paid in the time that its size says.
        #expect((earliest - now).seconds <= 1.6, "seed \(seed)")
        now = max(now, earliest)
        let count = Int.random(in: 0...largest, using: &random)
        limits.sent(expecting: count, now: now)
        let received = Int.random(in: 0...count, using: &random)
        limits.received(received, expected: count)
        sent += 1
        bytes += Double(received)
        let elapsed = (now - start).seconds
        #expect(sent <= elapsed * requestRate + requestRate / 10 + 2, "seed \(seed)")
        #expect(
          bytes <= (elapsed + 0.1 + RateLimiter.demandDebt) * Double(byteRate) + Double(largest)
            + 1,
          "seed \(seed)")
        now = now + .milliseconds(Int.random(in: 0...20, using: &random))
      }
    }
  }

  @Test func withoutLimitsNothingWaits() {
    let now = Instant(nanoseconds: 1_000_000_000)
    var limits = RateLimiter(now: now)
    for _ in 0..<10_000 {
      limits.sent(expecting: 1 << 30, now: now)
      #expect(limits.earliest(isAwaited: false, now: now) == now)
    }
  }

  @Test func silenceIsGivenUpSoonWhereAnswersAreQuick() {
    let limit = Duration.seconds(20)
    var waits = TTFBTracker()
    #expect(waits.timeout(.small, failures: 0, limit: limit) == limit)
    for _ in 0..<200 { waits.answered(.small, after: .milliseconds(1)) }
    #expect(waits.timeout(.small, failures: 0, limit: limit) == TTFBTracker.leastPatience)
    for _ in 0..<600 { waits.answered(.small, after: .milliseconds(100)) }
    #expect(waits.timeout(.small, failures: 0, limit: limit) == .seconds(2))
    // Another class, of which nothing is known: more patience, not less.
    #expect(waits.timeout(.large, failures: 0, limit: limit) == .seconds(4))
    // A store that has become slow as a whole is waited for in the end.
    #expect(waits.timeout(.small, failures: 2, limit: limit) == .seconds(8))
    #expect(waits.timeout(.small, failures: 60, limit: limit) == limit)
  }

  /// Every answer takes so long now that the first attempts are given up: the limit must follow.
  @Test func aStoreThatHasBecomeSlowIsNotGivenUpForEver() {
    var waits = TTFBTracker()
    for _ in 0..<256 { waits.answered(.small, after: .milliseconds(5)) }
    let answer = Duration.seconds(3)
    var givenUp = 0
    for _ in 0..<100 {
      var failures = 0
      while waits.timeout(.small, failures: failures, limit: .seconds(20)) < answer {
        waits.answered(
          .small, after: waits.timeout(.small, failures: failures, limit: .seconds(20)))
        failures += 1
        givenUp += 1
        #expect(failures < 6)
      }
      waits.answered(.small, after: answer)
    }
    #expect(givenUp < 60)
  }
}

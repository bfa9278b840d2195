import ObjectStore
import Posix
import Testing

@testable import Transport

@Suite struct RetryTests {
  @Test func backoffStaysUnderItsCeilingAndUsesAllOfIt() {
    let policy = RetryPolicy()
    for seed in 0..<5000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      for failures in 1...40 {
        for isThrottle in [false, true] {
          let wait = policy.backoff(failures: failures, isThrottle: isThrottle, random: &random)
          let ceiling = policy.ceiling(failures: failures, isThrottle: isThrottle)
          #expect(wait >= .zero && wait.nanoseconds <= ceiling, "seed \(seed)")
          #expect(ceiling <= 20_000_000_000)
        }
      }
    }
    #expect(policy.ceiling(failures: 1, isThrottle: false) == 100_000_000)
    #expect(policy.ceiling(failures: 3, isThrottle: true) == 2_000_000_000)
    #expect(policy.ceiling(failures: 400, isThrottle: false) == 20_000_000_000)
    var random = SeededGenerator(seed: 1)
    let waits = (0..<1000).map { _ in
      policy.backoff(failures: 1, isThrottle: false, random: &random).milliseconds
    }
    #expect(waits.min()! < 5 && waits.max()! > 95)
  }

  @Test func emptyBudgetMakesRetriesWaitAndNeverRefusesThemForGood() {
    for seed in 0..<2000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      var now = Instant(nanoseconds: 1_000_000_000)
      var budget = RetryBudget(now: now)
      var taken = 0.0
      let start = now
      for _ in 0..<200 {
        let cost = RetryBudget.cost(isThrottle: Bool.random(using: &random))
        if !budget.withdraw(cost, now: now) {
          let instant = budget.available(cost)
          #expect(instant > now && instant - now < .seconds(1), "seed \(seed)")
          now = instant
          let isTaken = budget.withdraw(cost, now: now)
          #expect(isTaken, "seed \(seed)")
        }
        taken += cost
        now = now + .milliseconds(Int.random(in: 0..<50, using: &random))
      }
      #expect(taken <= 500 + (now - start).seconds * 28 + 1, "seed \(seed)")
      #expect(budget.tokens >= 0 && budget.tokens <= budget.capacity)
    }
  }

  @Test func successfulRetryLetsTwoOthersGo() {
    let now = Instant(nanoseconds: 0)
    var budget = RetryBudget(now: now)
    while budget.withdraw(RetryBudget.transientCost, now: now) {}
    budget.succeeded(cost: RetryBudget.transientCost)
    let taken = (0..<3).map { _ in budget.withdraw(RetryBudget.transientCost, now: now) }
    #expect(taken == [true, true, false])
  }

  private func ledger(attempts: Int = 10, seconds: Int) -> RetryState {
    RetryState(
      deadline: Instant(nanoseconds: 0) + .seconds(seconds),
      policy: RetryPolicy(maxAttempts: attempts))
  }

  @Test func retriesEndByCountOrByDeadlineWhicheverIsFirst() {
    for seed in 0..<5000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let seconds = Int.random(in: 1...120, using: &random)
      var ledger = ledger(seconds: seconds)
      var now = Instant(nanoseconds: 0)
      var attempts = 0
      loop: while true {
        attempts += 1
        #expect(attempts <= 10, "seed \(seed)")
        let verdict = Verdict.retry(cause: testError(.serverFailure, "500"))
        switch ledger.ended(
          verdict, madeProgress: false, origin: "", now: now, random: &random)
        {
        case .finish(.failure(let error)):
          #expect(error.detail == "500")
          #expect(error.kind == (attempts == 10 ? .serverFailure : .timedOut), "seed \(seed)")
          break loop
        case .retry(let instant, let cost):
          #expect(instant >= now && instant < ledger.deadline, "seed \(seed)")
          #expect(cost == RetryBudget.transientCost)
          now = instant + .milliseconds(Int.random(in: 0..<500, using: &random))
        case .finish, .repeatNow: Issue.record("not asked for, seed \(seed)")
        }
      }
    }
  }

  @Test func progressGivesAnExchangeItsAttemptsBack() {
    var random = SeededGenerator(seed: 7)
    var ledger = ledger(attempts: 3, seconds: 1000)
    for round in 0..<50 {
      let next = ledger.ended(
        .retry(cause: testError(.unreachable, "cut")), madeProgress: true, origin: "",
        now: Instant(nanoseconds: 0), random: &random)
      guard case .retry = next else {
        Issue.record("gave up in round \(round)")
        return
      }
      #expect(ledger.attempt == round + 1 && ledger.failures == 1)
    }
  }

  @Test func retryAfterIsWaitedForOrTheExchangeTimesOut() {
    var random = SeededGenerator(seed: 7)
    for (after, fits) in [(Duration.seconds(5), true), (.seconds(50), false)] {
      var ledger = ledger(seconds: 20)
      let verdict = Verdict.retry(
        cause: testError(.throttled, "slow"), isThrottle: true, after: after)
      let next = ledger.ended(
        verdict, madeProgress: false, origin: "", now: Instant(nanoseconds: 0), random: &random)
      switch next {
      case .retry(let instant, let cost):
        #expect(fits && instant >= Instant(nanoseconds: 5_000_000_000))
        #expect(cost == RetryBudget.throttleCost)
      case .finish(.failure(let error)): #expect(!fits && error.kind == .timedOut)
      default: Issue.record("unexpected")
      }
    }
  }

  @Test func repetitionsAreBounded() {
    var random = SeededGenerator(seed: 7)
    var ledger = ledger(seconds: 20)
    for _ in 0..<8 {
      let next = ledger.ended(
        .again, madeProgress: false, origin: "http://h", now: Instant(nanoseconds: 0),
        random: &random)
      guard case .repeatNow = next else {
        Issue.record("ended early")
        return
      }
    }
    let next = ledger.ended(
      .again, madeProgress: false, origin: "http://h", now: Instant(nanoseconds: 0),
      random: &random)
    guard case .finish(.failure(let error)) = next else {
      Issue.record("repeats for ever")
      return
    }
    #expect(error.kind == .badReply && error.store == "http://h")
  }
}

import Posix
import Testing

@testable import Transport

@Suite struct ProgressWatchTests {
  private let start = Instant(nanoseconds: 1_000_000_000)
  private var watch: ProgressWatch {
    ProgressWatch(firstByteTimeout: .seconds(20), stallTimeout: .seconds(10), now: start)
  }

  /// Looks every interval; the second of the finding.
  private func run(
    _ sample: (_ second: Double) -> ProgressWatch.Sample
  ) -> (ProgressWatch.Finding, Double)? {
    var watch = watch
    var now = start
    for _ in 0..<200 {
      now = now + watch.interval
      let second = (now - start).seconds
      let finding = watch.check(sample(second), now: now)
      if finding != .fine { return (finding, second) }
    }
    return nil
  }

  @Test func silenceIsMeasuredFromTheRequestAndNotFromTheConnecting() throws {
    let found = try #require(
      run { second in
        .init(received: 0, sent: 0, requestStarted: second > 9 ? start + .seconds(9) : nil)
      })
    #expect(found.0 == .firstByteTimedOut && found.1 >= 29 && found.1 < 32)
  }

  @Test func connectingIsLeftToItsOwnLimit() {
    #expect(run { _ in .init(received: 0, sent: 0, requestStarted: nil) } == nil)
  }

  @Test func uploadThatMovesIsNotSilent() {
    #expect(run { .init(received: 0, sent: Int($0 * 100), requestStarted: start) } == nil)
  }

  @Test func bodyThatStopsIsStalledEvenSoonAfterItsHead() throws {
    let found = try #require(
      run { second in
        .init(received: Int(min(second, 4) * 1_000_000), sent: 0, requestStarted: start)
      })
    #expect(found.0 == .stalled && found.1 >= 14 && found.1 < 18)
  }

  @Test func trickleBelowTheRateIsStalledAndOneAboveItIsNot() {
    func trickle(_ rate: Double) -> ProgressWatch.Finding? {
      run { .init(received: 100 + Int($0 * rate), sent: 0, requestStarted: start) }?.0
    }
    #expect(trickle(900) == .stalled)
    #expect(trickle(1200) == nil)
  }
}

extension ProgressWatchTests {
  @Test func processThatWasStoppedDoesNotBlameTheStore() {
    var watch = watch
    var now = start
    var received = 100
    for step in 0..<40 {
      now = now + (step == 20 ? .seconds(600) : watch.interval)
      received += 16_384
      let finding = watch.check(
        .init(received: received, sent: 0, requestStarted: start), now: now)
      #expect(finding == .fine)
    }
  }
}

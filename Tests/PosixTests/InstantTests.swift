import Posix
import Testing

@Suite struct InstantTests {
  @Test func clockNeverGoesBack() {
    var last = Instant.now
    for _ in 0..<10_000 {
      let now = Instant.now
      #expect(now >= last)
      last = now
    }
  }

  /// The clock that goes on in suspend is never behind the one that stands still.
  @Test func agesCountSleep() {
    let now = Instant.now
    #expect(Instant.nowCountingSleep >= now)
  }

  @Test func additionStopsAtTheEnds() {
    let start = Instant(nanoseconds: 5)
    #expect(start + .nanoseconds(7) == Instant(nanoseconds: 12))
    #expect(start + .nanoseconds(-5) == Instant(nanoseconds: 0))
    #expect(start + .seconds(-1) == Instant(nanoseconds: 0))
    #expect(Instant.distantFuture + .seconds(1) == .distantFuture)
    #expect(start + .seconds(Int64.max) == .distantFuture)
    #expect(Instant(nanoseconds: .max) + .seconds(1) == .distantFuture)
    #expect(start + .seconds(Int64.min) == Instant(nanoseconds: 0))
  }

  @Test func differenceHasASignAndStopsAtTheEnds() {
    #expect(Instant(nanoseconds: 3) - Instant(nanoseconds: 10) == .nanoseconds(-7))
    #expect(Instant(nanoseconds: 10) - Instant(nanoseconds: 3) == .nanoseconds(7))
    #expect((.distantFuture - Instant(nanoseconds: 0)).nanoseconds == .max)
    #expect((Instant(nanoseconds: .max) - Instant(nanoseconds: 0)).nanoseconds == .max)
    #expect((Instant(nanoseconds: 0) - Instant(nanoseconds: .max)).nanoseconds == -.max)
  }

  @Test func durationsInUnits() {
    #expect(Duration.milliseconds(1500).nanoseconds == 1_500_000_000)
    #expect(Duration.milliseconds(1500).milliseconds == 1500)
    #expect(Duration.milliseconds(1500).seconds == 1.5)
    #expect(Duration.milliseconds(-1500).nanoseconds == -1_500_000_000)
    #expect(Duration.seconds(Int64.max).nanoseconds == .max)
    #expect(Duration.seconds(Int64.min).nanoseconds == .min)
    #expect(Duration(secondsComponent: 0, attosecondsComponent: 999_999_999).nanoseconds == 0)
  }

  @Test func timespecIsSecondsAndTheRest() {
    // The fields cannot be named here: beside Testing they count as another module's.
    func fields(_ instant: Instant) -> (seconds: Int, nanoseconds: Int) {
      withUnsafeBytes(of: instant.timespec) { $0.load(as: (Int, Int).self) }
    }
    #expect(fields(Instant(nanoseconds: 3_000_000_007)) == (3, 7))
    #expect(fields(.distantFuture).seconds == 9_223_372_036)
    #expect(fields(.distantFuture).nanoseconds < 1_000_000_000)
  }
}

public import Glibc

/// A moment on the monotonic clock, in nanoseconds. Deadlines are instants; so a wait that is
/// resumed does not start anew.
public struct Instant: Comparable, Hashable, Sendable {
  public var nanoseconds: UInt64

  public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

  public static var now: Instant {
    var time = Glibc.timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Instant(nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
  }

  /// The same for ages: it goes on while the machine sleeps. Not to be compared with `now`, nor waited for.
  public static var nowCountingSleep: Instant {
    var time = Glibc.timespec()
    clock_gettime(CLOCK_BOOTTIME, &time)
    return Instant(nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
  }

  public static let distantFuture = Instant(nanoseconds: UInt64(Int64.max))

  public static func < (left: Instant, right: Instant) -> Bool {
    left.nanoseconds < right.nanoseconds
  }

  public static func + (instant: Instant, duration: Duration) -> Instant {
    let added = Int64(clamping: duration.nanoseconds)
    return Instant(
      nanoseconds: UInt64(clamping: Int64(clamping: instant.nanoseconds).addingClamped(added)))
  }

  public static func - (later: Instant, earlier: Instant) -> Duration {
    .nanoseconds(Int64(clamping: later.nanoseconds) - Int64(clamping: earlier.nanoseconds))
  }

  public var timespec: Glibc.timespec {
    Glibc.timespec(
      tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
  }
}

extension Duration {
  public var nanoseconds: Int64 {
    let (seconds, attoseconds) = components
    return Int64(clamping: seconds).multipliedClamped(by: 1_000_000_000)
      .addingClamped(attoseconds / 1_000_000_000)
  }

  public var milliseconds: Int64 { nanoseconds / 1_000_000 }

  public var seconds: Double { Double(nanoseconds) / 1e9 }

  /// "12.3 ms", for logs.
  public var shownInMilliseconds: String {
    let tenths = nanoseconds / 100_000
    return "\(tenths / 10).\(tenths % 10) ms"
  }
}

extension Int64 {
  fileprivate func addingClamped(_ other: Int64) -> Int64 {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? (other > 0 ? .max : .min) : sum
  }

  fileprivate func multipliedClamped(by other: Int64) -> Int64 {
    let (product, overflow) = multipliedReportingOverflow(by: other)
    return overflow ? (self > 0 ? .max : .min) : product
  }
}

import Posix

/// When keys that expire are asked for again. Pure; times in seconds since 1970.
struct RenewalSchedule {
  /// Ahead of expiry by this share of the keys' lifetime...
  static let share = 0.25
  /// ... but no more than this: services give the same keys again until then.
  static let most = 900.0
  /// Mounts that got their keys at once must not all come back at once: a share of the time ahead.
  static let jitter = 0.2

  /// When to renew keys got at `now` that expire at `expires`; `nil`: they are as good as they are, because
  /// this machine's clock calls them expired already.
  static func renewal(
    expires: Int64, now: Int64, random: inout some RandomNumberGenerator
  ) -> Int64? {
    let lifetime = Double(expires - now)
    guard lifetime > 0 else { return nil }
    let ahead = min(lifetime * share, most)
    let early = ahead * Double.random(in: 0...jitter, using: &random)
    return now + Int64(lifetime - ahead - early)
  }

  /// The wait after the `failures`-th failure in a row (1, 2, ...), seconds: more often while the keys
  /// still hold for little.
  static func wait(
    failures: Int, left: Double, random: inout some RandomNumberGenerator
  ) -> Double {
    let ceiling = min(60, Double(1 << min(failures - 1, 6)))
    let urgent = left > 0 ? max(0.5, left / 4) : 5
    return min(ceiling, urgent) * Double.random(in: 0.5...1, using: &random)
  }
}

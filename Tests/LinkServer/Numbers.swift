import Glibc

/// A draw from the standard normal distribution (Box and Muller).
func normal(using random: inout some RandomNumberGenerator) -> Double {
  let first = Double.random(in: Double.leastNormalMagnitude..<1, using: &random)
  let second = Double.random(in: 0..<1, using: &random)
  return (-2 * log(first)).squareRoot() * cos(2 * .pi * second)
}

func exponential(_ value: Double) -> Double { exp(value) }

/// The monotonic clock, seconds.
func clockSeconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

func sleep(until seconds: Double) {
  let whole = seconds.rounded(.down)
  var time = timespec(tv_sec: Int(whole), tv_nsec: Int((seconds - whole) * 1e9))
  while clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nil) == EINTR {}
}

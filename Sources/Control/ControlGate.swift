import Posix

/// How many requests are answered at once: a client that asks without end must not fill this process.
final class ControlGate: Sendable {
  static let limit = 32
  private let running = Lock(0)

  /// False: there are as many as may be.
  func enter() -> Bool {
    running.withLock { running in
      guard running < Self.limit else { return false }
      running += 1
      return true
    }
  }

  func leave() { running.withLock { $0 -= 1 } }
}

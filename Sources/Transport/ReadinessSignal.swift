public import Posix

/// What exchanges wait for before they can make a request, such as credentials that are being renewed.
///
/// It is given once. Whoever has it to give makes another for the next time, before it gives this one: so an exchange
/// that finds itself unable to go on always waits for a signal that is still to come.
public final class ReadinessSignal: Sendable, Equatable {
  private struct State {
    var isGiven = false
    var observers: [any ReadinessObserver] = []
  }

  private let state = Monitor(State())

  public init() {}

  public static func == (left: ReadinessSignal, right: ReadinessSignal) -> Bool { left === right }

  /// Every exchange that waits for it makes its request, or says anew what it waits for.
  public func give() {
    let observers = state.signal(all: true) { state in
      state.isGiven = true
      defer { state.observers = [] }
      return state.observers
    }
    for observer in observers { observer.signalled(ObjectIdentifier(self)) }
  }

  /// Blocks the calling thread. False: `deadline` came first.
  public func wait(until deadline: Instant) -> Bool {
    state.wait(until: deadline) { $0.isGiven ? true : nil } ?? false
  }

  /// The observer is called once, from the thread that gives the signal, or from this one if it has been given.
  func observe(by observer: any ReadinessObserver) {
    let isGiven = state.withLock { state in
      if !state.isGiven, !state.observers.contains(where: { $0 === observer }) {
        state.observers.append(observer)
      }
      return state.isGiven
    }
    if isGiven { observer.signalled(ObjectIdentifier(self)) }
  }
}

/// A loop that has exchanges which wait for a signal.
protocol ReadinessObserver: AnyObject, Sendable {
  func signalled(_ signal: ObjectIdentifier)
}

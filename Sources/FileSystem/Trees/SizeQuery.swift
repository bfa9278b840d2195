import ObjectStore
import Posix
import Synchronization

/// Asks for the sizes that a listing does not have (an HTML index that rounds them): one HEAD a file, a few in flight.
final class SizeQuery: Sendable {
  typealias Answer = Result<Observation, StoreError>

  private struct State {
    var next = 0
    var inFlight = 0
    var answers: [Answer?]
    /// The store is away: what has not been asked yet fails in the same way.
    var outage: StoreError?
    /// One thread at a time sends; another that has news leaves it here.
    var isSending = false
    var sendsAgain = false
  }

  /// Requests in flight: simple servers (Python's http.server) let few connections wait, and readers need the others.
  static let width = 16

  private let context: MountContext
  private let lookup: LookupService
  private let directory: ObjectKey
  private let names: [[UInt8]]
  private let done: @Sendable ([Answer]) -> Void
  private let stop: StopFlag
  private let state: Lock<State>

  /// `done` is called once, with an answer a name, on the thread of the last answer.
  init(
    _ context: MountContext, lookup: LookupService, directory: ObjectKey, names: [[UInt8]],
    stop: StopFlag, done: @escaping @Sendable ([Answer]) -> Void
  ) {
    self.context = context
    self.lookup = lookup
    self.directory = directory
    self.names = names
    self.stop = stop
    self.done = done
    state = Lock(State(answers: [Answer?](repeating: nil, count: names.count)))
  }

  func start() {
    if names.isEmpty { return done([]) }
    send()
  }

  private enum Turn {
    case ask(Int)
    case again, leave
    case done([Answer])
  }

  private func send() {
    let isMine = state.withLock { state in
      if state.isSending { state.sendsAgain = true }
      defer { state.isSending = true }
      return !state.isSending
    }
    guard isMine else { return }
    while true {
      let turn = state.withLock { state -> Turn in
        if let answers = endEarly(&state) { return .done(answers) }
        if state.next < names.count, state.inFlight < Self.width {
          state.next += 1
          state.inFlight += 1
          return .ask(state.next - 1)
        }
        defer { state.sendsAgain = false }
        if state.sendsAgain { return .again }
        state.isSending = false
        return .leave
      }
      switch turn {
      case .ask(let index): ask(index)
      case .again: continue
      case .leave: return
      case .done(let answers): return done(answers)
      }
    }
  }

  /// Answers what is not asked any more. Not nil: nothing else is to come.
  private func endEarly(_ state: inout State) -> [Answer]? {
    guard state.next < names.count else { return nil }
    let reason =
      stop.isSet ? context.shuttingDown : state.outage
    guard let reason else { return nil }
    for index in state.next..<names.count { state.answers[index] = .failure(reason) }
    state.next = names.count
    return state.inFlight == 0 ? state.answers.map { $0! } : nil
  }

  private func ask(_ index: Int) {
    lookup.find(names[index], in: directory, mayWait: false) { [self] result in
      arrived(index, result.flatMap { answer(names[index], $0.seen) })
    }
  }

  private func answer(_ name: [UInt8], _ seen: Observation?) -> Answer {
    if let seen, seen.kind == .folder || seen.size != nil { return .success(seen) }
    return .failure(
      StoreError(
        seen == nil ? .notFound : .badReply, store: context.store.displayName,
        key: directory + name,
        detail: seen == nil
          ? "the listing has it, but there is no such file"
          : "the store reports no size",
        advice: "give a list of the files with --manifest"))
  }

  private func arrived(_ index: Int, _ answer: Answer) {
    let answers = state.withLock { state -> [Answer]? in
      state.answers[index] = answer
      state.inFlight -= 1
      if case .failure(let error) = answer, error.isOfWholeStore { state.outage = error }
      return state.inFlight == 0 && state.next == names.count ? state.answers.map { $0! } : nil
    }
    if let answers { return done(answers) }
    send()
  }
}

/// Set by those who do not wait any longer.
public final class StopFlag: Sendable {
  private let flag = Atomic(false)
  /// Not set.
  public init() {}
  /// Whether it was set.
  public var isSet: Bool { flag.load(ordering: .relaxed) }
  /// For good.
  public func set() { flag.store(true, ordering: .relaxed) }
}

extension StoreError {
  /// Another object would fail in the same way.
  fileprivate var isOfWholeStore: Bool {
    switch kind {
    case .unreachable, .tls, .timedOut, .throttled, .serverFailure, .badCredentials, .cancelled:
      true
    default: false
    }
  }
}

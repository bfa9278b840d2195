import Glibc
import Metrics
import Posix

/// The processes that request something of the mount, each with its account.
///
/// A request names a thread. Which process that belongs to is read from /proc once in a while, and not for
/// each request.
final class ProcessRegistry: Sendable {
  private struct Known {
    var account: CallerAccount
    var until: Int64
  }

  private struct Process: Hashable {
    var pid: Int32
    /// Tells it from another with the same number later.
    var startTime: UInt64
  }

  private struct State {
    var threads: [Int32: Known] = [:]
    var processes: [Process: CallerAccount] = [:]
    /// Of processes that were retired: something still counts for them, such as a file that is open.
    var lingering: [CallerAccount] = []
    /// What ended processes counted.
    let ended: CallerAccount
    /// The same by name. A name that is here stays, so that its total never decreases.
    var names: [String: CallerAccount] = [:]
    let unnamed: CallerAccount
  }

  /// Nanoseconds after which a thread's process is looked up again.
  private static let trust = Int64(5_000_000_000)
  private static let threadsMax = 4096
  private let processesMax: Int
  /// Names that are counted apart; processes of further names are "(other)".
  private let namesMax: Int

  private let state: Lock<State>
  /// Processes that cannot be identified.
  private let others: CallerAccount
  private static let endedName = "(ended)"
  private static let otherName = "(other)"

  init(processesMax: Int = 256, namesMax: Int = 64) {
    self.processesMax = processesMax
    self.namesMax = namesMax
    let now = Int64(Instant.now.nanoseconds)
    others = CallerAccount(pid: 0, name: Self.endedName, since: now)
    state = Lock(
      State(
        ended: CallerAccount(pid: 0, name: Self.endedName, since: now),
        unnamed: CallerAccount(pid: 0, name: Self.otherName, since: now)))
  }

  /// The account of the process that a thread belongs to.
  func account(ofThread thread: pid_t) -> CallerAccount {
    guard thread > 0 else { return others }
    let now = Int64(Instant.now.nanoseconds)
    let known: CallerAccount? = state.withLock { state in
      guard let known = state.threads[thread], known.until > now else { return nil }
      return known.account
    }
    if let known { return known }
    guard let (process, parent) = Self.process(ofThread: thread) else { return others }
    let registered: CallerAccount? = state.withLock { state in
      guard let account = state.processes[process] else { return nil }
      Self.remember(thread, account, in: &state, at: now)
      return account
    }
    if let registered { return registered }
    // Outside the lock: it is read from /proc.
    let name = Self.name(of: process.pid)
    return state.withLock { state in
      let account =
        state.processes[process]
        ?? register(process, name: name, parent: parent, in: &state, at: now)
      Self.remember(thread, account, in: &state, at: now)
      return account
    }
  }

  private func register(
    _ process: Process, name: String, parent: Int32, in state: inout State, at now: Int64
  ) -> CallerAccount {
    if state.processes.count >= processesMax { retire(&state, at: now) }
    if state.names[name] == nil, state.names.count < namesMax, name != Self.otherName {
      state.names[name] = CallerAccount(pid: 0, name: name, since: now)
    }
    let account = CallerAccount(pid: process.pid, name: name, parent: parent, since: now)
    state.processes[process] = account
    return account
  }

  private static func remember(
    _ thread: pid_t, _ account: CallerAccount, in state: inout State, at now: Int64
  ) {
    if state.threads.count >= threadsMax { state.threads = [:] }
    state.threads[thread] = Known(account: account, until: now + trust)
  }

  /// The processes that requested anything, by number; those that ended as one.
  var reports: [CallerReport] {
    let now = Int64(Instant.now.nanoseconds)
    // Under the lock: no process moves to those that ended meanwhile.
    let all = state.withLock { state in
      let rest = CallerAccount(pid: 0, name: Self.endedName, since: others.since)
      for account in [others, state.ended] + state.lingering { rest.absorb(account, at: now) }
      return (Array(state.processes.values) + [rest]).map { $0.report(at: now) }
    }
    return
      all
      .filter { $0.opens > 0 || $0.reads > 0 || $0.waited > 0 }
      .sorted { $0.pid < $1.pid }
  }

  /// Sums that never decrease. `byName`: also by name of the process, at most `namesMax` and "(other)".
  func totals(byName: Bool) -> ProcessTotals {
    let now = Int64(Instant.now.nanoseconds)
    let all = CallerAccount(pid: 0, name: "(all)", since: others.since)
    // As integers, whose sum does not depend on their order.
    let names = state.withLock { state in
      let counting = Array(state.processes.values) + state.lingering
      for account in [others, state.ended] + counting { all.absorb(account, at: now) }
      var names: [String: CallerAccount] = [:]
      guard byName else { return names }
      let rest = CallerAccount(pid: 0, name: Self.otherName, since: others.since)
      for account in [others, state.unnamed] { rest.absorb(account, at: now) }
      for ended in state.names.values {
        let sum = CallerAccount(pid: 0, name: ended.name, since: ended.since)
        sum.absorb(ended, at: now)
        names[ended.name] = sum
      }
      for account in counting { (names[account.name] ?? rest).absorb(account, at: now) }
      names[rest.name] = rest
      return names
    }
    let reports = names.values.map { $0.report(at: now) }
      .filter { $0.opens > 0 || $0.reads > 0 || $0.waited > 0 }
    return ProcessTotals(all: all.report(at: now), byName: reports.sorted { $0.name < $1.name })
  }

  /// Those that ended go into one account, and if none has, the oldest half does.
  private func retire(_ state: inout State, at now: Int64) {
    state.threads = [:]
    for process in leaving(state) {
      if let account = state.processes.removeValue(forKey: process) {
        state.lingering.append(account)
      }
    }
    var index = 0
    while index < state.lingering.count {
      guard isKnownUniquelyReferenced(&state.lingering[index]) else {
        index += 1
        continue
      }
      let account = state.lingering[index]
      state.ended.absorb(account, at: now)
      (state.names[account.name] ?? state.unnamed).absorb(account, at: now)
      state.lingering.swapAt(index, state.lingering.count - 1)
      state.lingering.removeLast()
    }
  }

  private func leaving(_ state: State) -> [Process] {
    let ended = state.processes.keys.filter { kill($0.pid, 0) != 0 && errno == ESRCH }
    if !ended.isEmpty { return ended }
    let oldest = state.processes.sorted { $0.value.since < $1.value.since }
    return oldest.prefix(processesMax / 2).map(\.key)
  }

  private static func process(ofThread thread: pid_t) -> (process: Process, parent: Int32)? {
    guard let status = readSmallFile("/proc/\(thread)/status"),
      let line = status.split(separator: "\n").first(where: { $0.hasPrefix("Tgid:") }),
      let pid = Int32(line.filter(\.isNumber)),
      let stat = readSmallFile("/proc/\(pid)/stat"), let end = stat.lastIndex(of: ")")
    else { return nil }
    // The 4th and the 22nd field; the 2nd is the name, in brackets and with what a name may have.
    let fields = stat[end...].split(separator: " ")
    guard fields.count > 20 else { return (Process(pid: pid, startTime: 0), 0) }
    return (Process(pid: pid, startTime: UInt64(fields[20]) ?? 0), Int32(fields[2]) ?? 0)
  }

  private static func name(of pid: pid_t) -> String {
    let name = readSmallFile("/proc/\(pid)/comm") ?? ""
    return name.isEmpty ? "?" : String(name.prefix { !$0.isNewline })
  }
}

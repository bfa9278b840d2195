import Glibc
import Metrics
import Posix

/// The processes that ask something of the mount, each with its account.
///
/// A request names a thread. Which process that belongs to is asked of /proc once in a while, and not for
/// each request.
final class Callers: Sendable {
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
  }

  /// A thread's process is asked for again after this.
  private static let trust = Int64(5_000_000_000)
  private static let mostThreads = 4096
  private static let mostProcesses = 256

  private let state = Lock(State())
  /// Processes that cannot be identified, and processes that have ended.
  private let others: CallerAccount

  init() {
    others = CallerAccount(pid: 0, name: "(ended)", since: Int64(Instant.now.nanoseconds))
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
    return state.withLock { state in
      let account =
        state.processes[process]
        ?? CallerAccount(
          pid: process.pid, name: Self.name(of: process.pid), parent: parent, since: now)
      if state.processes[process] == nil {
        if state.processes.count >= Self.mostProcesses { retire(&state) }
        state.processes[process] = account
      }
      if state.threads.count >= Self.mostThreads { state.threads = [:] }
      state.threads[thread] = Known(account: account, until: now + Self.trust)
      return account
    }
  }

  var reports: [CallerReport] {
    let now = Int64(Instant.now.nanoseconds)
    let accounts = state.withLock { Array($0.processes.values) } + [others]
    return accounts.map { $0.report(at: now) }
      .filter { $0.opens > 0 || $0.reads > 0 || $0.waited > 0 }
      .sorted { $0.pid < $1.pid }
  }

  /// Those that ended go into one account, and if none has, the oldest half does.
  private func retire(_ state: inout State) {
    var leaving = state.processes.filter { kill($0.key.pid, 0) != 0 && errno == ESRCH }
    if leaving.isEmpty {
      let oldest = state.processes.sorted { $0.value.since < $1.value.since }
      for item in oldest.prefix(Self.mostProcesses / 2) { leaving[item.key] = item.value }
    }
    for (process, account) in leaving {
      others.absorb(account)
      state.processes[process] = nil
    }
    state.threads = [:]
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

public import Glibc
import Posix

/// A program that was started here: ended by its pid, reaped, and never outliving this process.
///
/// The last is the kernel's doing: every child is started through `setpriv --pdeathsig` (of
/// util-linux), which asks for a signal at the death of its parent and then becomes the program,
/// under the same pid. The kernel means the parent *thread*, and the threads that run tests come
/// and go; so one thread that lives as long as the process starts all children. A terminal's
/// Ctrl-C does not reach them (each leads a process group of its own): whoever started them ends
/// them, in order.
public final class ChildProcess: Sendable {
  public enum Ending: Equatable, Sendable {
    case exited(CInt)
    case signalled(CInt)
  }

  /// What a child gets when this process dies first, by setpriv's names.
  public enum DeathSignal: String, Sendable {
    case kill = "KILL"
    case terminate = "TERM"
  }

  public let pid: pid_t
  public let command: [String]
  private let ending = Lock<Ending?>(nil)

  /// Where the child's standard streams go. Children never read this process's standard input.
  public struct Streams: Sendable {
    /// A file to read from; `nil`: /dev/null.
    public var input: String?
    /// Files that are written anew; `nil`: this process's own stream.
    public var output: String?
    public var errors: String?

    public init(input: String? = nil, output: String? = nil, errors: String? = nil) {
      self.input = input
      self.output = output
      self.errors = errors
    }
  }

  /// `command[0]` is looked up in PATH. `environment` is laid over `cleanEnvironment`.
  public init(
    _ command: [String], environment: [String: String] = [:], folder: String? = nil,
    streams: Streams = Streams(), deathSignal: DeathSignal = .kill
  ) throws {
    self.command = command
    let inFolder = folder.map { ["env", "--chdir", $0] } ?? []
    let guarded = ["setpriv", "--pdeathsig", deathSignal.rawValue] + inFolder + command
    let result: Result<pid_t, SupportError> = onSpawningThread {
      spawn(guarded, environment: environment, streams: streams)
    }
    pid = try result.get()
    AtExit.note(child: pid)
  }

  /// How the program ended; `nil` while it runs.
  public func poll() -> Ending? {
    ending.withLock { ending in
      if ending != nil { return ending }
      var status: CInt = 0
      guard waitpid(pid, &status, WNOHANG) == pid else { return nil }
      AtExit.forget(child: pid)
      ending = status & 0x7f == 0 ? .exited((status >> 8) & 0xff) : .signalled(status & 0x7f)
      return ending
    }
  }

  /// Waits for the program to end; `nil`: it still runs after `duration`.
  public func wait(within duration: Duration) -> Ending? {
    waitFor(within: duration, every: 2_000) { self.poll() }
  }

  /// Sends a signal to the program alone; nothing once it was reaped.
  public func signal(_ number: CInt) {
    ending.withLock { if $0 == nil { _ = kill(pid, number) } }
  }

  /// Ends the program and its process group: `first`, and SIGKILL where that does not do.
  public func end(_ first: CInt = SIGTERM, within duration: Duration = .seconds(10)) {
    guard poll() == nil else { return }
    signalGroup(first)
    if wait(within: duration) != nil { return }
    signalGroup(SIGKILL)
    _ = wait(within: .seconds(10))
  }

  private func signalGroup(_ number: CInt) {
    ending.withLock { if $0 == nil { _ = kill(-pid, number) } }
  }

  deinit { end(within: .seconds(5)) }

  /// This process's environment without what would lead a test elsewhere: AWS_*, MILLRACE_*.
  public static let cleanEnvironment: [String: String] = {
    var clean: [String: String] = [:]
    var entry = environ
    while let text = entry.pointee {
      let parts = String(cString: text).split(
        separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      if parts.count == 2 { clean[String(parts[0])] = String(parts[1]) }
      entry += 1
    }
    for name in clean.keys where name.hasPrefix("AWS_") || name.hasPrefix("MILLRACE_") {
      clean[name] = nil
    }
    clean["AWS_EC2_METADATA_DISABLED"] = "true"
    clean["NO_PROXY"] = "127.0.0.1,localhost"
    clean["no_proxy"] = "127.0.0.1,localhost"
    return clean
  }()
}

/// Asks `condition` every `microseconds` until it answers; `nil` once `duration` has passed.
public func waitFor<Value>(
  within duration: Duration, every microseconds: UInt32 = 10_000, _ condition: () throws -> Value?
) rethrows -> Value? {
  let deadline = Instant.now + duration
  while true {
    if let value = try condition() { return value }
    if Instant.now >= deadline { return nil }
    usleep(microseconds)
  }
}

private let spawningThread = WorkerPool(named: "spawner", threads: 1)

private func onSpawningThread<Value: Sendable>(_ body: @escaping @Sendable () -> Value) -> Value {
  let answer = Monitor<Value?>(nil)
  let taken = spawningThread.submit {
    let value = body()
    answer.signal { $0 = value }
  }
  precondition(taken, "the spawning thread's queue is full")
  return answer.wait { $0 }!
}

private func spawn(
  _ command: [String], environment: [String: String], streams: ChildProcess.Streams
) -> Result<pid_t, SupportError> {
  var actions = posix_spawn_file_actions_t()
  posix_spawn_file_actions_init(&actions)
  defer { posix_spawn_file_actions_destroy(&actions) }
  posix_spawn_file_actions_addopen(&actions, 0, streams.input ?? "/dev/null", O_RDONLY, 0)
  let fresh = O_WRONLY | O_CREAT | O_TRUNC
  if let output = streams.output {
    posix_spawn_file_actions_addopen(&actions, 1, output, fresh, 0o644)
  }
  if let errors = streams.errors {
    if errors == streams.output {
      posix_spawn_file_actions_adddup2(&actions, 1, 2)
    } else {
      posix_spawn_file_actions_addopen(&actions, 2, errors, fresh, 0o644)
    }
  }
  // Nothing that this process has open: an inherited descriptor keeps a mount busy.
  // posix_spawn_file_actions_addclosefrom_np is hidden behind _GNU_SOURCE. Closing one that is not open is no error.
  for number in openDescriptors() where number > 2 {
    posix_spawn_file_actions_addclose(&actions, number)
  }

  var attributes = posix_spawnattr_t()
  posix_spawnattr_init(&attributes)
  defer { posix_spawnattr_destroy(&attributes) }
  var none = sigset_t()
  var all = sigset_t()
  sigemptyset(&none)
  sigfillset(&all)
  posix_spawnattr_setsigmask(&attributes, &none)
  posix_spawnattr_setsigdefault(&attributes, &all)
  posix_spawnattr_setpgroup(&attributes, 0)
  posix_spawnattr_setflags(
    &attributes,
    Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

  let merged = ChildProcess.cleanEnvironment.merging(environment) { $1 }
  var arguments = command.map { strdup($0) } + [nil]
  var variables = merged.map { strdup("\($0.key)=\($0.value)") } + [nil]
  defer {
    for argument in arguments { free(argument) }
    for variable in variables { free(variable) }
  }
  var pid = pid_t()
  let code = posix_spawnp(&pid, command[0], &actions, &attributes, &arguments, &variables)
  guard code == 0 else {
    return .failure(SupportError("cannot start \(command[0]): \(systemMessage(code))"))
  }
  return .success(pid)
}

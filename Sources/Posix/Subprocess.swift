public import Glibc
public import SystemPackage

/// A program that was started with posix_spawn: never by fork, which locks and threads do not survive.
public struct Subprocess: Sendable {
  /// Where a standard stream of the program goes, or comes from.
  public enum Stream: Equatable, Sendable {
    case inherited
    case null
    case descriptor(CInt)
  }

  /// What the program belongs to.
  public enum Group: Sendable {
    case inherited
    /// A process group of its own, so that its children end with it: `killGroup`.
    case own
    /// A session of its own. The program gets no descriptors but those named: a daemon must not hold on to what the
    /// shell had open, as a lock, a pipe or a file of another mount.
    case session
  }

  public struct Options: Sendable {
    /// The program's file; nil: the first argument, searched for in PATH.
    public var path: String?
    /// nil: that of this process.
    public var environment: [String: String]?
    public var standardInput = Stream.inherited
    public var standardOutput = Stream.inherited
    public var standardError = Stream.inherited
    /// Descriptors of this process, each kept open in the program under the second number.
    public var descriptors: [(ours: CInt, theirs: CInt)] = []
    public var group = Group.inherited
    /// Signals that this process blocks or ignores are so in the program as well. Otherwise they are unblocked and at
    /// their defaults.
    public var inheritsSignals = false

    public init() {}
  }

  public let pid: pid_t

  /// Throws what posix_spawnp(3) says: ENOENT where there is no such program.
  public init(_ arguments: [String], _ options: Options = Options()) throws(Errno) {
    guard let first = arguments.first else { throw .invalidArgument }
    var actions = Self.actions(options)
    defer { posix_spawn_file_actions_destroy(&actions) }
    var attributes = Self.attributes(options)
    defer { posix_spawnattr_destroy(&attributes) }
    var arguments = arguments.map { strdup($0) } + [nil]
    var variables = options.environment?.map { strdup("\($0.key)=\($0.value)") } ?? []
    variables.append(nil)
    defer { for text in arguments + variables { free(text) } }
    var pid = pid_t()
    let program = options.path ?? first
    let code =
      options.environment == nil
      ? posix_spawnp(&pid, program, &actions, &attributes, &arguments, environ)
      : posix_spawnp(&pid, program, &actions, &attributes, &arguments, &variables)
    guard code == 0 else { throw Errno(rawValue: code) }
    self.pid = pid
  }

  private static func actions(_ options: Options) -> posix_spawn_file_actions_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    let streams = [options.standardInput, options.standardOutput, options.standardError]
    for (index, stream) in streams.enumerated() {
      let number = CInt(index)
      switch stream {
      case .inherited: break
      case .null:
        posix_spawn_file_actions_addopen(
          &actions, number, "/dev/null", number == 0 ? O_RDONLY : O_WRONLY, 0)
      case .descriptor(let descriptor):
        posix_spawn_file_actions_adddup2(&actions, descriptor, number)
      }
    }
    for (ours, theirs) in options.descriptors {
      posix_spawn_file_actions_adddup2(&actions, ours, theirs)
    }
    if case .session = options.group {
      let kept = Set(options.descriptors.map(\.theirs))
      for descriptor in openDescriptors() where descriptor > 2 && !kept.contains(descriptor) {
        posix_spawn_file_actions_addclose(&actions, descriptor)
      }
    }
    return actions
  }

  private static func attributes(_ options: Options) -> posix_spawnattr_t {
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    var flags: CInt = 0
    switch options.group {
    case .inherited: break
    case .own:
      posix_spawnattr_setpgroup(&attributes, 0)
      flags |= CInt(POSIX_SPAWN_SETPGROUP)
    // POSIX_SPAWN_SETSID is behind _GNU_SOURCE and does not reach Swift.
    case .session: flags |= 0x80
    }
    if !options.inheritsSignals {
      var signals = sigset_t()
      sigemptyset(&signals)
      posix_spawnattr_setsigmask(&attributes, &signals)
      sigfillset(&signals)
      posix_spawnattr_setsigdefault(&attributes, &signals)
      flags |= CInt(POSIX_SPAWN_SETSIGDEF) | CInt(POSIX_SPAWN_SETSIGMASK)
    }
    posix_spawnattr_setflags(&attributes, Int16(flags))
    return attributes
  }

  // MARK: Its end

  /// Waits for the end: the exit code, or 128 + the signal's number. 1 where this process has reaped it already.
  @discardableResult
  public func wait() -> CInt {
    var status: CInt = 0
    while waitpid(pid, &status, 0) < 0 { if errno != EINTR { return 1 } }
    return Self.code(status)
  }

  /// The same; nil: it still runs at the deadline.
  public func wait(until deadline: Instant) -> CInt? {
    var status: CInt = 0
    while true {
      let result = waitpid(pid, &status, WNOHANG)
      if result == pid { return Self.code(status) }
      if result < 0, errno != EINTR { return 1 }
      guard Instant.now < deadline else { return nil }
      usleep(2000)
    }
  }

  /// The same; nil while it runs.
  public func poll() -> CInt? {
    var status: CInt = 0
    return waitpid(pid, &status, WNOHANG) == pid ? Self.code(status) : nil
  }

  /// Ends a program of a group of its own, and its children, and waits for the program.
  public func killGroup() {
    kill(-pid, SIGKILL)
    wait()
  }

  private static func code(_ status: CInt) -> CInt {
    let signal = status & 0x7f
    return signal == 0 ? (status >> 8) & 0xff : 128 + signal
  }
}

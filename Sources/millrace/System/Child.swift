import Glibc
import Posix

/// A program started with posix_spawn: never fork, which locks and threads do not survive.
struct Child {
  enum Stream { case inherited, null }

  let pid: pid_t

  /// `descriptors`: (ours, theirs), kept open in the child under the second number. Signals are
  /// unblocked and at their defaults in it. Throws 127 when the program is not found, 126 when it
  /// cannot be started.
  init(
    _ arguments: [String], path: String? = nil, environment: [String: String]? = nil,
    newSession: Bool = false, standardInput: Stream = .inherited,
    standardOutput: Stream = .inherited, standardError: Stream = .inherited,
    descriptors: [(CInt, CInt)] = []
  ) throws(Failure) {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    for (stream, number) in [(standardInput, 0), (standardOutput, 1), (standardError, 2)]
    where stream == .null {
      posix_spawn_file_actions_addopen(
        &actions, CInt(number), "/dev/null", number == 0 ? O_RDONLY : O_WRONLY, 0)
    }
    for (ours, theirs) in descriptors { posix_spawn_file_actions_adddup2(&actions, ours, theirs) }
    if newSession { Child.closeInherited(&actions, keeping: Set(descriptors.map(\.1))) }
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    var all = sigset_t()
    sigfillset(&all)
    posix_spawnattr_setsigdefault(&attributes, &all)
    // SETSIGDEF 4, SETSIGMASK 8; SETSID 0x80 is behind _GNU_SOURCE and does not reach Swift.
    posix_spawnattr_setflags(&attributes, Int16(4 | 8 | (newSession ? 0x80 : 0)))
    var arguments = arguments.map { strdup($0) } + [nil]
    var variables =
      (environment ?? processEnvironment()).map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer {
      for text in arguments { free(text) }
      for text in variables { free(text) }
    }
    var pid = pid_t()
    let program = path ?? String(cString: arguments[0]!)
    let result = posix_spawnp(&pid, program, &actions, &attributes, &arguments, &variables)
    guard result == 0 else {
      throw Failure(
        "cannot run \(program): \(systemMessage(result))", code: result == ENOENT ? 127 : 126)
    }
    self.pid = pid
  }

  /// A daemon must not hold on to what the shell had open: a lock, a pipe, a file of another mount.
  private static func closeInherited(
    _ actions: inout posix_spawn_file_actions_t, keeping: Set<CInt>
  ) {
    for name in openDescriptors() where name > 2 && !keeping.contains(name) {
      posix_spawn_file_actions_addclose(&actions, name)
    }
  }

  /// Waits for the end: the exit code, or 128 + the signal's number.
  func wait() -> Int32 {
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0 { if errno != EINTR { return 1 } }
    return Child.code(status)
  }

  /// nil while it runs.
  func poll() -> Int32? {
    var status: Int32 = 0
    return waitpid(pid, &status, WNOHANG) == pid ? Child.code(status) : nil
  }

  private static func code(_ status: Int32) -> Int32 {
    let signal = status & 0x7f
    return signal == 0 ? (status >> 8) & 0xff : 128 + signal
  }
}

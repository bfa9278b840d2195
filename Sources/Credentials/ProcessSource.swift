import Formats
import Glibc
import ObjectStore
import Posix

/// Keys from a program of the user's choice (`credential_process`), run without a shell.
struct ProcessSource: CredentialsSource {
  let profile: String
  let words: [String]
  var timeout: Duration = .seconds(60)

  var name: String { "credential_process of profile \(profile)" }

  func fetch(deadline: Instant) throws(StoreError) -> Credentials {
    let outcome: ProgramRun.Outcome
    do throws(ProgramRun.Failed) {
      outcome = try ProgramRun.run(words, until: min(deadline, .now + timeout))
    } catch {
      throw refused("cannot run \(words.first ?? ""): \(error.reason)")
    }
    guard outcome.status == 0 else {
      let said = outcome.errors.split(whereSeparator: \.isNewline).first.map { ": \($0)" } ?? ""
      throw refused("\(words[0]) exited with \(outcome.status)\(said.prefix(300))")
    }
    guard (try? JSONValue(outcome.output))?.integer("Version") == 1 else {
      throw refused("\(words[0]) printed no JSON with \"Version\": 1")
    }
    return try ServiceKeys.read(
      outcome.output, names: ServiceKeys.Names(token: "SessionToken"), source: name)
  }
}

/// Runs a program to its end, bounded in time and output.
enum ProgramRun {
  struct Outcome {
    var status: Int32
    var output: [UInt8]
    var errors: String
  }

  struct Failed: Error { var reason: String }

  private static let outputLimit = 256 << 10

  static func run(_ words: [String], until deadline: Instant) throws(Failed) -> Outcome {
    guard let program = words.first else { throw Failed(reason: "no program is named") }
    var output: [CInt] = [-1, -1]
    var errors: [CInt] = [-1, -1]
    guard pipe2Closed(&output) else { throw Failed(reason: String(cString: strerror(errno))) }
    defer { for end in output where end >= 0 { close(end) } }
    guard pipe2Closed(&errors) else { throw Failed(reason: String(cString: strerror(errno))) }
    defer { for end in errors where end >= 0 { close(end) } }
    let pid = try spawn(program, words, output: output[1], errors: errors[1])
    close(output[1])
    close(errors[1])
    output[1] = -1
    errors[1] = -1
    let texts = collect([output[0], errors[0]], until: deadline)
    guard let texts else {
      // Its group: a shell script's children hold the pipes too.
      kill(-pid, SIGKILL)
      _ = reap(pid)
      throw Failed(reason: "it did not exit in time")
    }
    guard let status = waitFor(pid, until: deadline) else {
      kill(-pid, SIGKILL)
      _ = reap(pid)
      throw Failed(reason: "it did not exit in time")
    }
    let signal = status & 0x7F
    return Outcome(
      status: signal == 0 ? status >> 8 & 0xFF : 128 + signal, output: texts[0],
      errors: String(decoding: texts[1].prefix(2000), as: UTF8.self))
  }

  private static func pipe2Closed(_ ends: inout [CInt]) -> Bool {
    guard pipe(&ends) == 0 else { return false }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    return true
  }

  private static func spawn(
    _ program: String, _ words: [String], output: CInt, errors: CInt
  ) throws(Failed) -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, output, 1)
    posix_spawn_file_actions_adddup2(&actions, errors, 2)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var signals = sigset_t()
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    sigfillset(&signals)
    posix_spawnattr_setsigdefault(&attributes, &signals)
    posix_spawnattr_setpgroup(&attributes, 0)
    // SETPGROUP 2, SETSIGDEF 4, SETSIGMASK 8.
    posix_spawnattr_setflags(&attributes, 2 | 4 | 8)
    var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    var pid = pid_t()
    let result = posix_spawnp(&pid, program, &actions, &attributes, &arguments, environ)
    guard result == 0 else { throw Failed(reason: String(cString: strerror(result))) }
    return pid
  }

  /// All that comes until both ends are closed; nil at the deadline, or past the limit.
  private static func collect(_ ends: [CInt], until deadline: Instant) -> [[UInt8]]? {
    var texts: [[UInt8]] = ends.map { _ in [] }
    var open = Set(ends.indices)
    var buffer = [UInt8](repeating: 0, count: 16 << 10)
    while !open.isEmpty {
      let left = deadline - .now
      guard Instant.now < deadline else { return nil }
      let indices = open.sorted()
      var polled = indices.map { pollfd(fd: ends[$0], events: Int16(POLLIN), revents: 0) }
      let count = poll(&polled, nfds_t(polled.count), CInt(min(1000, left.milliseconds + 1)))
      if count < 0, errno != EINTR { return nil }
      for (index, entry) in zip(indices, polled) where entry.revents != 0 {
        let count = read(ends[index], &buffer, buffer.count)
        if count > 0 {
          texts[index] += buffer[..<count]
          if texts[index].count > outputLimit { return nil }
        } else if count == 0 || errno != EINTR {
          open.remove(index)
        }
      }
    }
    return texts
  }

  private static func waitFor(_ pid: pid_t, until deadline: Instant) -> Int32? {
    var status: Int32 = 0
    while true {
      let result = waitpid(pid, &status, WNOHANG)
      if result == pid { return status }
      if result < 0, errno != EINTR { return 1 << 8 }
      guard Instant.now < deadline else { return nil }
      usleep(2000)
    }
  }

  private static func reap(_ pid: pid_t) -> Int32 {
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0, errno == EINTR {}
    return status
  }
}

import Glibc
import ObjectStore
import Posix

/// Starts the daemon: this program again, in the foreground form and a session of its own, with a
/// pipe on which it says that the mount is usable.
enum Launcher {
  static let readyVariable = "MILLRACE_INTERNAL_READY_FD"
  static let lifelineVariable = "MILLRACE_INTERNAL_LIFELINE_FD"
  static let argumentsVariable = "MILLRACE_INTERNAL_ARGUMENTS_FD"

  struct Daemon {
    var child: Subprocess
    /// What to print: "Mounted ...".
    var line: String
    /// `run`: the daemon unmounts once this closes. -1 otherwise.
    var lifeline: CInt
  }

  /// `arguments`: those of `mount`, without the program's name. Waits until the mount is usable.
  static func start(_ arguments: [String], withLifeline: Bool) throws(Failure) -> Daemon {
    let handed = try ArgumentHandOver.write(arguments)
    defer { close(handed) }
    let ready = try makePipe()
    let life = withLifeline ? try makePipe() : nil
    defer {
      close(ready.read)
      if let life { close(life.read) }
    }
    var environment = processEnvironment()
    environment[readyVariable] = "8"
    environment[lifelineVariable] = life == nil ? nil : "9"
    // The daemon's arguments are in /proc for as long as it runs, and everybody may read them there.
    environment[argumentsVariable] = "7"
    var options = Subprocess.Options()
    options.path = "/proc/self/exe"
    options.environment = environment
    options.group = .session
    options.standardInput = .null
    options.standardOutput = .null
    options.standardError = .null
    options.descriptors = [(handed, 7), (ready.write, 8)]
    if let life { options.descriptors.append((life.read, 9)) }
    let child: Subprocess
    do throws(Failure) {
      child = try Subprocess.start(
        [CommandLine.arguments[0]] + arguments.map { SecretMask.masked(argument: $0) }, options)
    } catch {
      close(ready.write)
      if let life { close(life.write) }
      throw Failure(error.description)
    }
    close(ready.write)
    do throws(Failure) {
      let line = try wait(for: child, on: ready.read)
      return Daemon(child: child, line: line, lifeline: life?.write ?? -1)
    } catch {
      if let life { close(life.write) }
      throw error
    }
  }

  /// Both ends above the numbers that the child is given, and closed by an exec.
  private static func makePipe() throws(Failure) -> (read: CInt, write: CInt) {
    var ends: [CInt] = [-1, -1]
    guard pipe(&ends) == 0 else { throw Failure("cannot make a pipe: \(systemMessage())") }
    defer { for end in ends { close(end) } }
    let high = ends.map { fcntl($0, F_DUPFD_CLOEXEC, 20) }
    guard high.allSatisfy({ $0 >= 0 }) else {
      throw Failure("cannot make a pipe: \(systemMessage())")
    }
    return (high[0], high[1])
  }

  /// "ok LINE", "fail CODE LINE", or the end of a daemon that could say neither.
  private static func wait(for child: Subprocess, on pipe: CInt) throws(Failure) -> String {
    let deadline = Instant.now + .seconds(90)
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 4096)
    while bytes.last != UInt8(ascii: "\n") {
      var wanted = pollfd(fd: pipe, events: Int16(POLLIN), revents: 0)
      let left = max((deadline - .now).milliseconds, 0)
      let ready = poll(&wanted, 1, Int32(left))
      if ready < 0 && errno == EINTR { continue }
      guard ready > 0 else {
        kill(child.pid, SIGKILL)
        _ = child.wait()
        throw Failure("the mount was not ready within 90 seconds; see millrace doctor")
      }
      let count = read(pipe, &piece, piece.count)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { break }
      bytes += piece[..<count]
    }
    let words = String(decoding: bytes.dropLast(), as: UTF8.self).split(
      separator: " ", maxSplits: 1)
    if words.count == 2, words[0] == "ok" { return String(words[1]) }
    let code = child.wait()
    if words.count == 2, words[0] == "fail" {
      throw Failure(String(words[1]), ExitStatus(rawValue: code) ?? .other)
    }
    throw Failure(
      "the daemon exited (code \(code)) before the mount was ready; see its log, or try --foreground"
    )
  }
}

/// The daemon's side of the pipes.
struct Announcer {
  private let ready: CInt?
  let lifeline: CInt?
  var isDaemon: Bool { ready != nil }

  init(_ environment: [String: String]) {
    // Children of the daemon (fusermount3) must not hold the pipes open.
    func kept(_ name: String) -> CInt? {
      guard let number = environment[name].flatMap({ CInt($0) }) else { return nil }
      let copy = fcntl(number, F_DUPFD_CLOEXEC, 20)
      guard copy >= 0 else { return nil }
      close(number)
      return copy
    }
    ready = kept(Launcher.readyVariable)
    lifeline = kept(Launcher.lifelineVariable)
    unsetenv(Launcher.readyVariable)
    unsetenv(Launcher.lifelineVariable)
  }

  /// False: the process that waited has ended.
  func mounted(_ line: String) -> Bool {
    guard let ready else {
      Output.line(line)
      Output.flush()
      return true
    }
    return say("ok \(printable(line))\n", on: ready)
  }

  func failed(_ failure: Failure) {
    guard let ready else { return }
    _ = say("fail \(printable(failure.description))\n", on: ready)
  }

  private func say(_ text: String, on pipe: CInt) -> Bool {
    defer { close(pipe) }
    return write(pipe, text, text.utf8.count) == text.utf8.count
  }
}

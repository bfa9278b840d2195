import Formats
import Glibc
import ObjectStore
import Posix
import SystemPackage

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
    guard !words.isEmpty else { throw Failed(reason: "no program is named") }
    var output: [CInt] = [-1, -1]
    var errors: [CInt] = [-1, -1]
    guard pipe2Closed(&output) else { throw Failed(reason: String(cString: strerror(errno))) }
    defer { for end in output where end >= 0 { close(end) } }
    guard pipe2Closed(&errors) else { throw Failed(reason: String(cString: strerror(errno))) }
    defer { for end in errors where end >= 0 { close(end) } }
    let process = try start(words, output: output[1], errors: errors[1])
    close(output[1])
    close(errors[1])
    output[1] = -1
    errors[1] = -1
    guard let texts = collect([output[0], errors[0]], until: deadline),
      let status = process.wait(until: deadline)
    else {
      process.killGroup()
      throw Failed(reason: "it did not exit in time")
    }
    return Outcome(
      status: status, output: texts[0],
      errors: String(decoding: texts[1].prefix(2000), as: UTF8.self))
  }

  private static func start(
    _ words: [String], output: CInt, errors: CInt
  ) throws(Failed) -> Subprocess {
    var options = Subprocess.Options()
    options.standardInput = .null
    options.standardOutput = .descriptor(output)
    options.standardError = .descriptor(errors)
    // A shell script's children hold the pipes too.
    options.group = .own
    do throws(Errno) { return try Subprocess(words, options) } catch {
      throw Failed(reason: "\(error)")
    }
  }

  private static func pipe2Closed(_ ends: inout [CInt]) -> Bool {
    guard pipe(&ends) == 0 else { return false }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    return true
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
}

import Formats
import Glibc
import Logging
import ObjectStore
import Posix

/// Where log lines go: standard error or a file of bounded size.
final class LogSink: Sendable {
  private struct State {
    var descriptor: CInt
    var written: Int
    var hasWarnings = false
  }

  static let sizeLimit = 8 << 20
  /// nil: standard error.
  let path: String?
  private let state: Lock<State>

  /// Standard error.
  init() {
    path = nil
    state = Lock(State(descriptor: STDERR_FILENO, written: 0))
  }

  init(file path: String) throws(Failure) {
    self.path = path
    let descriptor = try LogSink.append(path)
    state = Lock(State(descriptor: descriptor, written: Int(lseek(descriptor, 0, SEEK_END))))
  }

  /// What a crash prints belongs into the log as well.
  func takeStandardError() {
    state.withLock { _ = dup2($0.descriptor, STDERR_FILENO) }
  }

  /// Something was logged as a warning or worse.
  var hasWarnings: Bool { state.withLock { $0.hasWarnings } }

  func write(_ line: String, isWarning: Bool) {
    state.withLock { state in
      state.hasWarnings = state.hasWarnings || isWarning
      if let path, state.written > LogSink.sizeLimit { rotate(path, &state) }
      var line = line
      let count = line.withUTF8 { Glibc.write(state.descriptor, $0.baseAddress, $0.count) }
      state.written += max(count, 0)
    }
  }

  private func rotate(_ path: String, _ state: inout State) {
    rename(path, path + ".1")
    state.written = 0
    guard let next = try? LogSink.append(path) else { return }
    dup2(next, state.descriptor)
    _ = fcntl(state.descriptor, F_SETFD, FD_CLOEXEC)
    close(next)
  }

  /// In a folder of all users another one could have put a link there, or a file of his own.
  private static func append(_ path: String) throws(Failure) -> CInt {
    let flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK
    let file = open(path, flags, 0o600)
    guard file >= 0 else {
      throw Failure(
        "log file \(path): "
          + (errno == ELOOP ? "it is a link; name the file itself" : systemMessage()))
    }
    var status = stat()
    guard fstat(file, &status) == 0 else {
      close(file)
      throw Failure("log file \(path): \(systemMessage())")
    }
    let kind = status.st_mode & S_IFMT
    if kind == S_IFCHR { return file }
    if kind == S_IFREG, status.st_uid == geteuid(), status.st_nlink == 1 { return file }
    close(file)
    throw Failure(
      "log file \(path): it is no ordinary file, belongs to another user, or has a second name; choose another with --log-file"
    )
  }
}

/// "2026-11-23T11:40:02Z warning message key=value": one line each.
struct LineLogHandler: LogHandler {
  let sink: LogSink
  var logLevel: Logger.Level
  var metadata: Logger.Metadata = [:]

  init(sink: LogSink, level: Logger.Level) {
    self.sink = sink
    logLevel = level
  }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    var line =
      "\(UTCTime.stamp(Int64(time(nil)))) \(event.level) \(oneLine(event.message.description))"
    let all = metadata.merging(event.metadata ?? [:]) { $1 }
    for (key, value) in all.sorted(by: { $0.key < $1.key }) { line += " \(key)=\(value)" }
    if let error = event.error { line += " error=\(oneLine("\(error)"))" }
    // Values are names of stores and files, and what servers said: none may begin a line or steer a terminal.
    sink.write(
      printable(SecretMask.masked(line)) + "\n", isWarning: event.level >= .warning)
  }
}

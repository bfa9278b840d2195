import Glibc
import Logging
import Posix

/// Where log lines go: standard error or a file of bounded size.
final class LogSink: Sendable {
  private struct State {
    var descriptor: CInt
    var written: Int
  }

  static let sizeLimit = 8 << 20
  private let path: String?
  private let state: Lock<State>

  /// Standard error.
  init() {
    path = nil
    state = Lock(State(descriptor: STDERR_FILENO, written: 0))
  }

  init(file path: String) throws(Failure) {
    self.path = path
    let descriptor = LogSink.append(path)
    guard descriptor >= 0 else { throw Failure("log file \(path): \(systemMessage())") }
    state = Lock(State(descriptor: descriptor, written: Int(lseek(descriptor, 0, SEEK_END))))
  }

  /// What a crash prints belongs into the log as well.
  func takeStandardError() {
    state.withLock { _ = dup2($0.descriptor, STDERR_FILENO) }
  }

  func write(_ line: String) {
    state.withLock { state in
      if let path, state.written > LogSink.sizeLimit { rotate(path, &state) }
      var line = line
      let count = line.withUTF8 { Glibc.write(state.descriptor, $0.baseAddress, $0.count) }
      state.written += max(count, 0)
    }
  }

  private func rotate(_ path: String, _ state: inout State) {
    rename(path, path + ".1")
    let next = LogSink.append(path)
    state.written = 0
    guard next >= 0 else { return }
    dup2(next, state.descriptor)
    _ = fcntl(state.descriptor, F_SETFD, FD_CLOEXEC)
    close(next)
  }

  private static func append(_ path: String) -> CInt {
    open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
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
    var line = "\(LineLogHandler.timestamp()) \(event.level) \(oneLine(event.message.description))"
    let all = metadata.merging(event.metadata ?? [:]) { $1 }
    for (key, value) in all.sorted(by: { $0.key < $1.key }) { line += " \(key)=\(value)" }
    if let error = event.error { line += " error=\(oneLine("\(error)"))" }
    sink.write(line + "\n")
  }

  private static func timestamp() -> String {
    var now = time(nil)
    var parts = tm()
    gmtime_r(&now, &parts)
    var text = [CChar](repeating: 0, count: 32)
    let count = strftime(&text, text.count, "%Y-%m-%dT%H:%M:%SZ", &parts)
    return String(decoding: text[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self)
  }
}

public import FileSystem
import FoundationEssentials
import Glibc
public import Prefetch

/// Asks a mount's control socket, blocking, for the command line.
public enum ControlClient {
  public struct Failure: Error, CustomStringConvertible {
    public var description: String
  }

  /// A report of a million changes.
  private static let answerLimit = 512 << 20

  /// The body of GET /v1/stats.
  public static func stats(socket path: String, timeoutSeconds: Int = 5) throws(Failure) -> [UInt8]
  {
    try ask("GET", "stats", socket: path, timeout: timeoutSeconds)
  }

  /// POST /v1/refresh of a path relative to the mount, bytes.
  public static func refresh(_ target: [UInt8], socket path: String) throws(Failure)
    -> RefreshReport
  {
    try parse(
      try ask("POST", "refresh?path=\(QueryText.encode(target))", socket: path, timeout: 60))
  }

  /// POST /v1/update of a path relative to the mount, bytes; waits as long as the listing takes, an hour at
  /// most.
  public static func update(_ target: [UInt8], socket path: String) throws(Failure)
    -> (report: UpdateReport, json: [UInt8])
  {
    let json = try ask(
      "POST", "update?path=\(QueryText.encode(target))", socket: path, timeout: 3600)
    return (try parse(json), json)
  }

  // MARK: Jobs

  /// Begins a job.
  public static func start(_ job: JobRequest, socket path: String) throws(Failure) -> JobReport {
    let newline = UInt8(ascii: "\n")
    var options = ["jobs=\(job.width)"]
    if job.verifies { options.append("verify=1") }
    if job.isOrder { options.append("order=1") }
    // A line of the body cannot be empty, nor have an end of line in it.
    let isPlain = job.paths.allSatisfy { !$0.isEmpty && !$0.contains(newline) && $0.last != 13 }
    if !isPlain { options += job.paths.map { "path=\(QueryText.encode($0))" } }
    let body = isPlain ? Array(job.paths.joined(separator: [newline])) : []
    return try parse(
      try ask(
        "POST", "\(job.action.rawValue)?\(options.joined(separator: "&"))", body: body,
        socket: path,
        timeout: 60))
  }

  /// A job's report when it is over, or after so many seconds.
  public static func job(_ id: String, wait: Double, socket path: String) throws(Failure)
    -> (report: JobReport, json: [UInt8])
  {
    let json = try ask("GET", "jobs/\(id)?wait=\(wait)", socket: path, timeout: 30 + Int(wait))
    return (try parse(json), json)
  }

  /// Ends a job.
  public static func cancel(_ id: String, socket path: String) throws(Failure) {
    _ = try ask("DELETE", "jobs/\(id)", socket: path, timeout: 5)
  }

  private static func parse<Report: Decodable>(_ json: [UInt8]) throws(Failure) -> Report {
    do { return try JSONDecoder().decode(Report.self, from: Data(json)) } catch {
      throw Failure(description: "the daemon answers in another version's words: \(error)")
    }
  }

  public static func decode(_ json: [UInt8]) throws(Failure) -> StatsReport {
    try parse(json)
  }

  /// `what`: after "/v1/". Returns the body of the answer.
  private static func ask(
    _ method: String, _ what: String, body: [UInt8] = [], socket path: String, timeout: Int
  ) throws(Failure) -> [UInt8] {
    let head =
      "\(method) /v1/\(what) HTTP/1.1\r\nHost: millrace\r\nContent-Length: \(body.count)\r\n"
      + "Connection: close\r\n\r\n"
    return try Self.body(of: exchange(Array(head.utf8) + body, path, timeout))
  }

  private static func exchange(_ request: [UInt8], _ path: String, _ timeout: Int) throws(Failure)
    -> [UInt8]
  {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
    guard descriptor >= 0 else { throw failure("socket") }
    defer { close(descriptor) }
    var limit = timeval(tv_sec: timeout, tv_usec: 0)
    let size = socklen_t(MemoryLayout<timeval>.size)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
    try join(descriptor, path)
    var sent = 0
    while sent < request.count {
      let count = request.withUnsafeBytes {
        send(descriptor, $0.baseAddress! + sent, request.count - sent, Int32(MSG_NOSIGNAL))
      }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw failure("asking \(path)") }
      sent += count
    }
    var answer: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 16 << 10)
    while answer.count < answerLimit, !isWhole(answer) {
      let count = recv(descriptor, &piece, piece.count, 0)
      // With a limit of time, recv(2) is not begun again after a signal: who asked decides what it means.
      if count < 0, errno == EINTR { continue }
      if count < 0 { throw failure("waiting for the answer of \(path)") }
      if count == 0 { break }
      answer += piece[..<count]
    }
    return answer
  }

  private static func join(_ descriptor: CInt, _ path: String) throws(Failure) {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
      throw Failure(description: "\(path) is too long for a socket")
    }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard result == 0 else { throw failure("connecting to \(path)") }
  }

  /// Head and as many bytes of body as Content-Length says.
  private static func isWhole(_ answer: [UInt8]) -> Bool {
    guard let (head, body) = split(answer), let length = contentLength(head) else { return false }
    return body.count >= length
  }

  private struct Refusal: Decodable { var error: String }

  private static func body(of answer: [UInt8]) throws(Failure) -> [UInt8] {
    guard let (head, body) = split(answer) else {
      throw Failure(description: "the control socket gave no answer")
    }
    let json = Array(body.prefix(contentLength(head) ?? body.count))
    if head.hasPrefix("HTTP/1.1 20") { return json }
    let refusal = try? JSONDecoder().decode(Refusal.self, from: Data(json))
    let status = head.prefix { !$0.isNewline }
    throw Failure(description: refusal?.error ?? "the control socket answers \(status)")
  }

  private static func split(_ answer: [UInt8]) -> (head: String, body: ArraySlice<UInt8>)? {
    guard let mark = answer.firstRange(of: Array("\r\n\r\n".utf8)) else { return nil }
    return (String(decoding: answer[..<mark.lowerBound], as: UTF8.self), answer[mark.upperBound...])
  }

  private static func contentLength(_ head: String) -> Int? {
    for line in head.split(separator: "\r\n") where line.lowercased().hasPrefix("content-length:") {
      return Int(line.dropFirst(15).filter { $0 != " " })
    }
    return nil
  }

  private static func failure(_ what: String) -> Failure {
    Failure(description: "\(what): \(String(cString: strerror(errno)))")
  }
}

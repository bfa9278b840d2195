import CProcessShim
public import FileSystem
import FoundationEssentials
import Glibc
import Posix
public import Prefetch

/// Asks a mount's control socket, blocking, for the command line.
public enum ControlClient {
  public struct Failure: Error, CustomStringConvertible {
    public var description: String
  }

  /// Bytes of an answer: a report of a mount or a job.
  private static let answerLimit = 16 << 20
  /// A report of a million changes.
  private static let updateLimit = 512 << 20
  private static let headLimit = 64 << 10

  /// The body of GET /v1/stats.
  public static func stats(socket: ControlSocket, timeoutSeconds: Int = 5) throws(Failure)
    -> [UInt8]
  {
    try ask("GET", "stats", socket: socket, timeout: timeoutSeconds)
  }

  /// POST /v1/refresh of a path relative to the mount, bytes.
  public static func refresh(_ target: [UInt8], socket: ControlSocket) throws(Failure)
    -> RefreshReport
  {
    try parse(
      try ask("POST", "refresh?path=\(QueryText.encode(target))", socket: socket, timeout: 60))
  }

  /// POST /v1/update of a path relative to the mount, bytes; waits as long as the listing takes, an hour at
  /// most.
  public static func update(_ target: [UInt8], socket: ControlSocket) throws(Failure)
    -> (report: UpdateReport, json: [UInt8])
  {
    let json = try ask(
      "POST", "update?path=\(QueryText.encode(target))", socket: socket, timeout: 3600,
      limit: updateLimit)
    return (try parse(json), json)
  }

  /// POST /v1/order: a path a line. An order of nothing ends the one of its name.
  public static func order(
    _ text: [UInt8], name: String, socket: ControlSocket
  ) throws(Failure) -> OrderReceipt {
    try parse(
      try ask(
        "POST", "order?name=\(QueryText.encode(Array(name.utf8)))", body: text, socket: socket,
        timeout: 120))
  }

  // MARK: Jobs

  /// Begins a job.
  public static func start(_ job: JobRequest, socket: ControlSocket) throws(Failure) -> JobReport {
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
        socket: socket,
        timeout: 60))
  }

  /// A job's report when it is over, or after so many seconds.
  public static func job(_ id: String, wait: Double, socket: ControlSocket) throws(Failure)
    -> (report: JobReport, json: [UInt8])
  {
    let json = try ask("GET", "jobs/\(id)?wait=\(wait)", socket: socket, timeout: 30 + Int(wait))
    return (try parse(json), json)
  }

  /// Ends a job.
  public static func cancel(_ id: String, socket: ControlSocket) throws(Failure) {
    _ = try ask("DELETE", "jobs/\(id)", socket: socket, timeout: 5)
  }

  private static func parse<Report: Decodable>(_ json: [UInt8]) throws(Failure) -> Report {
    do { return try JSONDecoder().decode(Report.self, from: Data(json)) } catch {
      throw Failure(
        description:
          "cannot decode the daemon's response (do the versions of client and daemon differ?): \(error)"
      )
    }
  }

  public static func decode(_ json: [UInt8]) throws(Failure) -> StatsReport {
    try parse(json)
  }

  /// `what`: after "/v1/". Returns the body of the answer.
  private static func ask(
    _ method: String, _ what: String, body: [UInt8] = [], socket: ControlSocket, timeout: Int,
    limit: Int = answerLimit
  ) throws(Failure) -> [UInt8] {
    let head =
      "\(method) /v1/\(what) HTTP/1.1\r\nHost: millrace\r\nContent-Length: \(body.count)\r\n"
      + "Connection: close\r\n\r\n"
    let end = Deadline(seconds: timeout)
    let descriptor = try connection(to: socket, end)
    defer { close(descriptor) }
    try send(Array(head.utf8) + body, to: descriptor, socket.path, end)
    return try receive(from: descriptor, socket.path, end, limit: limit)
  }

  /// Of a request as a whole: a daemon that sends a byte now and then is as slow as one that sends none.
  private struct Deadline {
    let seconds: Int
    private let end: Instant

    init(seconds: Int) {
      self.seconds = seconds
      end = .now + .seconds(seconds)
    }

    /// Limits the next call on a socket to what is left.
    func apply(to descriptor: CInt, _ option: CInt, _ path: String) throws(Failure) {
      let left = (end - .now).nanoseconds
      guard left > 0 else { throw expired(path) }
      var limit = timeval(
        tv_sec: Int(left / 1_000_000_000), tv_usec: max(1, Int(left % 1_000_000_000 / 1000)))
      setsockopt(descriptor, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    func expired(_ path: String) -> Failure {
      Failure(description: "the daemon of \(path) did not respond within \(seconds) s")
    }
  }

  private static func connection(to place: ControlSocket, _ end: Deadline) throws(Failure) -> CInt {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
    guard descriptor >= 0 else { throw failure("socket") }
    do throws(Failure) {
      try end.apply(to: descriptor, SO_SNDTIMEO, place.path)
      try join(descriptor, place)
      return descriptor
    } catch {
      close(descriptor)
      throw error
    }
  }

  /// Any user with write permission on the directory can create a socket there. Nothing is sent to such a socket, and
  /// nothing that it sends is trusted.
  private static func checkPeer(_ descriptor: CInt, _ place: ControlSocket) throws(Failure) {
    guard let owner = place.owner else { return }
    var user: uid_t = 0
    guard millrace_peer_user(descriptor, &user) == 0 else {
      throw failure("checking the peer of \(place.path)")
    }
    guard user == owner || user == 0 else {
      throw Failure(
        description:
          "\(place.path) belongs to a process of user \(user) and not to the mount's daemon (user \(owner)); "
          + "no request was sent; find the process that created it")
    }
  }

  private static func send(
    _ request: [UInt8], to descriptor: CInt, _ path: String, _ end: Deadline
  ) throws(Failure) {
    var sent = 0
    while sent < request.count {
      try end.apply(to: descriptor, SO_SNDTIMEO, path)
      let count = request.withUnsafeBytes {
        Glibc.send(descriptor, $0.baseAddress! + sent, request.count - sent, Int32(MSG_NOSIGNAL))
      }
      if count < 0, errno == EINTR { continue }
      if count < 0, errno == EAGAIN { throw end.expired(path) }
      guard count > 0 else { throw failure("sending to \(path)") }
      sent += count
    }
  }

  private static func receive(
    from descriptor: CInt, _ path: String, _ end: Deadline, limit: Int
  ) throws(Failure) -> [UInt8] {
    var answer = ControlAnswer(headLimit: headLimit, bodyLimit: limit)
    var piece = [UInt8](repeating: 0, count: 64 << 10)
    while !answer.isWhole {
      try end.apply(to: descriptor, SO_RCVTIMEO, path)
      let count = recv(descriptor, &piece, piece.count, 0)
      // With a limit of time, recv(2) is not begun again after a signal: who asked decides what it means.
      if count < 0, errno == EINTR { continue }
      if count < 0, errno == EAGAIN { throw end.expired(path) }
      if count < 0 { throw failure("waiting for the response of \(path)") }
      if count == 0 { break }
      guard answer.append(piece[..<count]) else {
        throw Failure(
          description:
            "the response of \(path) exceeds \(limit >> 20) MiB")
      }
    }
    guard let head = answer.head else {
      throw Failure(description: "the control socket \(path) closed without a response")
    }
    guard !answer.isCutOff else {
      throw Failure(description: "the control socket \(path) closed in the middle of its response")
    }
    if head.hasPrefix("HTTP/1.1 20") { return answer.body }
    let refusal = try? JSONDecoder().decode(Refusal.self, from: Data(answer.body))
    let status = head.prefix { !$0.isNewline }
    throw Failure(description: refusal?.error ?? "the control socket responded \(status)")
  }

  private struct Refusal: Decodable { var error: String }

  /// Connects to the daemon of a mount, and to no other process.
  static func join(_ descriptor: CInt, _ place: ControlSocket) throws(Failure) {
    guard let address = try? UnixSocketAddress(place.path.utf8) else {
      throw Failure(description: "\(place.path) is too long for a socket")
    }
    guard address.withPointer({ connect(descriptor, $0, $1) }) == 0 else {
      throw failure("connecting to \(place.path)")
    }
    try checkPeer(descriptor, place)
  }

  private static func failure(_ what: String) -> Failure {
    Failure(description: "\(what): \(String(cString: strerror(errno)))")
  }
}

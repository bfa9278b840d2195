public import FileSystem
import FoundationEssentials
import Glibc

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
    let answer = try exchange(
      "GET /v1/stats HTTP/1.1\r\nHost: millrace\r\nConnection: close\r\n\r\n", path, timeoutSeconds)
    return try body(of: answer)
  }

  /// POST /v1/refresh of a path relative to the mount, bytes.
  public static func refresh(_ target: [UInt8], socket path: String) throws(Failure)
    -> RefreshReport
  {
    try parse(try post("refresh", target, path, 60))
  }

  /// POST /v1/update of a path relative to the mount, bytes; waits as long as the listing takes, an hour at
  /// most.
  public static func update(_ target: [UInt8], socket path: String) throws(Failure)
    -> (report: UpdateReport, json: [UInt8])
  {
    let json = try post("update", target, path, 3600)
    return (try parse(json), json)
  }

  private static func post(
    _ name: String, _ target: [UInt8], _ path: String, _ timeout: Int
  ) throws(Failure) -> [UInt8] {
    try body(
      of: exchange(
        "POST /v1/\(name)?path=\(PathQuery.text(of: target)) HTTP/1.1\r\nHost: millrace\r\n"
          + "Content-Length: 0\r\nConnection: close\r\n\r\n", path, timeout))
  }

  private static func parse<Report: Decodable>(_ json: [UInt8]) throws(Failure) -> Report {
    do { return try JSONDecoder().decode(Report.self, from: Data(json)) } catch {
      throw Failure(description: "the daemon answers in another version's words: \(error)")
    }
  }

  public static func decode(_ json: [UInt8]) throws(Failure) -> StatsReport {
    try parse(json)
  }

  private static func exchange(_ request: String, _ path: String, _ timeout: Int) throws(Failure)
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
    let sent = Array(request.utf8).withUnsafeBytes {
      send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
    }
    guard sent == request.utf8.count else { throw failure("asking \(path)") }
    var answer: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 16 << 10)
    while answer.count < answerLimit, !isWhole(answer) {
      let count = recv(descriptor, &piece, piece.count, 0)
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

  private static func body(of answer: [UInt8]) throws(Failure) -> [UInt8] {
    guard let (head, body) = split(answer), head.hasPrefix("HTTP/1.1 200") else {
      throw Failure(description: "the control socket does not know how")
    }
    return Array(body.prefix(contentLength(head) ?? body.count))
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

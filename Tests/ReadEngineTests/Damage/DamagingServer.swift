import CEngineShim
import Crypto
import Dispatch
import Glibc
import Posix

/// What a store says of an object's content beside its bytes.
enum Statement: String, CaseIterable, Sendable {
  case crc32c, crc64nvme, crc32, sha1, sha256
  /// The ETag is the content's MD5, and the user has said so (`--verify-etag`).
  case md5
  /// X-Linked-ETag, as a hub states it.
  case linked
  case nothing
}

/// An HTTP server for S3 and for sites: any path is an object whose name says its size ("…-100000") and which of its
/// answers are damaged ("once-…", "always-…", "never-…"). One byte of such an answer is wrong.
final class DamagingServer: Sendable {
  let port: UInt16
  private let listener: CInt
  private let statement: Statement
  /// Ranges are ignored: every answer is of the whole object.
  private let ignoresRanges: Bool
  private let answers = Lock<[String: Int]>([:])
  private let isIntact = Lock(false)
  private let queue = DispatchQueue(label: "damaging", attributes: .concurrent)

  init(_ statement: Statement, ignoresRanges: Bool = false) {
    self.statement = statement
    self.ignoresRanges = ignoresRanges
    _ = signal(SIGPIPE, SIG_IGN)
    let listener = socket(AF_INET, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        bind(listener, address, size) == 0 && listen(listener, 256) == 0
          && getsockname(listener, address, &size) == 0
      }
    }
    self.listener = listener
    precondition(isBound, "cannot listen on 127.0.0.1")
    port = UInt16(bigEndian: address.sin_port)
    queue.async { [self] in
      while true {
        let socket = accept(listener, nil, nil)
        if socket < 0, errno == EINTR || errno == ECONNABORTED { continue }
        guard socket >= 0 else { break }
        queue.async {
          self.answer(socket)
          close(socket)
        }
      }
      close(listener)
    }
  }

  /// No answer is damaged from now on.
  func repair() { isIntact.withLock { $0 = true } }

  func stop() { _ = shutdown(listener, CInt(SHUT_RDWR)) }

  static func size(of name: String) -> Int { Int(name.split(separator: "-").last ?? "") ?? 0 }

  static func bytes(of name: String) -> [UInt8] {
    if let known = made.withLock({ $0[name] }) { return known }
    let bytes = content(at: 0, count: size(of: name), seed: name.utf8.reduce(0, &+))
    made.withLock { $0[name] = bytes }
    return bytes
  }

  /// The same names come in every case: 20 MB in all.
  private static let made = Lock<[String: [UInt8]]>([:])

  static func etag(of name: String, _ statement: Statement) -> String {
    guard statement == .md5 else { return "\"etag-\(name)\"" }
    return "\"\(hex(Insecure.MD5.hash(data: bytes(of: name))))\""
  }

  // MARK: One connection, one request

  private func answer(_ socket: CInt) {
    var request: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while !request.suffix(4).elementsEqual("\r\n\r\n".utf8) {
      let count = recv(socket, &buffer, buffer.count, 0)
      guard count > 0 else { return }
      request += buffer[..<count]
    }
    let lines = String(decoding: request, as: UTF8.self).split(separator: "\r\n")
    let path = lines[0].split(separator: " ")[1].split(separator: "?")[0]
    let name = String(path.split(separator: "/").last ?? "")
    let header = lines.first { $0.lowercased().hasPrefix("range: bytes=") }
    let ends = header?.split(separator: "=")[1].split(separator: "-").compactMap { Int($0) }
    let whole = Self.bytes(of: name)
    let isPart = ends?.count == 2 && !ignoresRanges
    let range = isPart ? ends![0]..<ends![1] + 1 : 0..<whole.count
    var body = Array(whole[range])
    if isDamaged(name) { body[body.count / 2] ^= 0x20 }
    var head = "HTTP/1.1 \(isPart ? "206 Partial Content" : "200 OK")\r\nConnection: close\r\n"
    head += "ETag: \(Self.etag(of: name, statement))\r\nContent-Length: \(body.count)\r\n"
    if isPart {
      head += "Content-Range: bytes \(range.lowerBound)-\(range.upperBound - 1)/\(whole.count)\r\n"
    }
    head += stated(whole, isPart: isPart) + "\r\n"
    let isHead = lines[0].hasPrefix("HEAD")
    send(Array(head.utf8) + (isHead ? [] : body), to: socket)
  }

  private func send(_ bytes: [UInt8], to socket: CInt) {
    var sent = 0
    while sent < bytes.count {
      let count = bytes.withUnsafeBytes {
        Glibc.send(socket, $0.baseAddress! + sent, bytes.count - sent, CInt(MSG_NOSIGNAL))
      }
      guard count > 0 else { return }
      sent += count
    }
  }

  private func isDamaged(_ name: String) -> Bool {
    if isIntact.withLock({ $0 }) { return false }
    let number = answers.withLock { answers in
      defer { answers[name, default: 0] += 1 }
      return answers[name, default: 0]
    }
    return name.contains("always") || (name.contains("once") && number == 0)
  }

  private func stated(_ bytes: [UInt8], isPart: Bool) -> String {
    if statement == .linked {
      return "X-Linked-ETag: \"\(Self.hex(SHA256.hash(data: bytes)))\"\r\n"
    }
    let sum: [UInt8]
    switch statement {
    case .crc32c:
      sum = Self.bigEndian(bytes.withUnsafeBytes { millrace_crc32c(0, $0.baseAddress, $0.count) })
    case .crc32:
      sum = Self.bigEndian(bytes.withUnsafeBytes { millrace_crc32(0, $0.baseAddress, $0.count) })
    case .crc64nvme:
      sum = Self.bigEndian(
        bytes.withUnsafeBytes { millrace_crc64nvme(0, $0.baseAddress, $0.count) })
    case .sha1: sum = Array(Insecure.SHA1.hash(data: bytes))
    case .sha256: sum = Array(SHA256.hash(data: bytes))
    case .md5, .linked, .nothing: return ""
    }
    // Stores keep checksums of whole objects alone.
    return isPart ? "" : "x-amz-checksum-\(statement.rawValue): \(Self.base64(sum))\r\n"
  }

  private static func bigEndian(_ value: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: value.bigEndian) { Array($0) }
  }

  private static func hex(_ digest: some Sequence<UInt8>) -> String {
    digest.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  private static func base64(_ bytes: [UInt8]) -> String {
    let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    var text: [UInt8] = []
    for start in stride(from: 0, to: bytes.count, by: 3) {
      let part = Array(bytes[start..<min(start + 3, bytes.count)])
      let word = (0..<3).reduce(0) { $0 << 8 | ($1 < part.count ? Int(part[$1]) : 0) }
      for place in 0..<4 {
        text.append(place <= part.count ? digits[word >> (18 - 6 * place) & 63] : UInt8(ascii: "="))
      }
    }
    return String(decoding: text, as: UTF8.self)
  }
}

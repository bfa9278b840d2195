/// An HTTP answer as it comes in pieces. Each byte is looked at once: the end of the head is sought only in what is
/// new, so a long answer costs no more than its length.
struct ControlAnswer {
  private(set) var head: String?
  private var bytes: [UInt8] = []
  private var bodyStart = 0
  /// By Content-Length; nil: to the end of the connection.
  private var length: Int?
  private let headLimit: Int
  private let bodyLimit: Int

  init(headLimit: Int, bodyLimit: Int) {
    self.headLimit = headLimit
    self.bodyLimit = bodyLimit
  }

  var isWhole: Bool {
    guard head != nil, let length else { return false }
    return bytes.count - bodyStart >= length
  }

  /// The connection has ended before the response was whole. Without a length its end is the response's.
  var isCutOff: Bool { head == nil || (length != nil && !isWhole) }

  var body: [UInt8] {
    let rest = bytes[bodyStart...]
    return Array(rest.prefix(length ?? rest.count))
  }

  /// False: it is longer than allowed.
  mutating func append(_ piece: some Collection<UInt8>) -> Bool {
    let seen = max(bytes.count - 3, 0)
    bytes += piece
    if head == nil { findHead(from: seen) }
    if head == nil { return bytes.count <= headLimit }
    if let length, length > bodyLimit { return false }
    return bytes.count - bodyStart <= bodyLimit
  }

  private mutating func findHead(from start: Int) {
    guard let mark = bytes[start...].firstRange(of: [13, 10, 13, 10]) else { return }
    let text = String(decoding: bytes[..<mark.lowerBound], as: UTF8.self)
    head = text
    bodyStart = mark.upperBound
    for line in text.split(separator: "\r\n") where line.lowercased().hasPrefix("content-length:") {
      // What is no length is one that is too long.
      length = max(Int(line.dropFirst(15).filter { $0 != " " }) ?? .max, 0)
    }
  }
}

import Formats
import Transport

/// What an answer that is no success says: status, headers and the XML of its body, as far as they go.
struct S3Failure: Equatable {
  /// Enough for every error body of S3; a proxy's page may be longer and tells nothing more.
  static let bodyLimit = 64 << 10
  private static let textLimit = 400

  var status: Int
  var code = ""
  var message = ""
  /// From the header, else from the body; not checked.
  var region: String?
  var endpoint: String?
  /// Seconds since 1970 by the store's clock.
  var serverTime: Int64?
  var retryAfter: Duration?

  init(status: Int, code: String = "", message: String = "") {
    self.status = status
    self.code = code
    self.message = message
  }

  init(_ head: HTTPResponseHead, body: [UInt8]) {
    status = head.status
    body.withUnsafeBytes { readBody($0) }
    region = head["x-amz-bucket-region"] ?? region
    serverTime = head["date"].flatMap(UTCTime.http) ?? serverTime
    retryAfter = Self.retryAfter(head)
  }

  /// Best effort: what was read before a syntax error counts.
  private mutating func readBody(_ body: UnsafeRawBufferPointer) {
    var reader = XMLReader(body)
    guard case .start(let root) = try? reader.next(), reader.isNamed("Error", root) else { return }
    do throws(XMLReader.SyntaxError) {
      while let name = try reader.element(in: 1) {
        if reader.isNamed("Code", name) {
          code = Self.shown(try reader.string())
        } else if reader.isNamed("Message", name) {
          message = Self.shown(try reader.string())
        } else if reader.isNamed("Region", name) {
          region = Self.shown(try reader.string())
        } else if reader.isNamed("Endpoint", name) {
          endpoint = Self.shown(try reader.string())
        } else if reader.isNamed("ServerTime", name) {
          serverTime = UTCTime.iso8601(try reader.string())
        } else {
          try reader.skipContent()
        }
      }
    } catch {}
  }

  /// One line, without control characters, of bounded length: it ends in logs and on terminals.
  static func shown(_ text: String) -> String {
    var line = String.UnicodeScalarView()
    for scalar in text.unicodeScalars.prefix(textLimit) {
      line.append(scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) ? " " : scalar)
    }
    return String(line)
  }

  /// x-amz-retry-after is in milliseconds, retry-after in seconds; no store may silence us for long.
  static func retryAfter(_ head: HTTPResponseHead) -> Duration? {
    if let value = head["x-amz-retry-after"], let time = Int64(value), time >= 0 {
      return .milliseconds(min(time, 30_000))
    }
    if let value = head["retry-after"], let time = Int64(value), time >= 0 {
      return .seconds(min(time, 30))
    }
    return nil
  }

  /// The store's own words, for a message.
  var words: String {
    var words = "HTTP \(status)"
    if !code.isEmpty { words += " \(code)" }
    if !message.isEmpty { words += ": \(message)" }
    return words
  }
}

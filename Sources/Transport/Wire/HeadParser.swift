/// Puts a response's head together from the lines that libcurl hands over. Heads of 1xx are
/// dropped, trailers ignored; all of them together are bounded, so that headers without end are not
/// collected without end.
struct HeadParser: Sendable {
  /// S3 sends about 1 KiB and user metadata is at most 2 KiB; proxies add some.
  static let maxBytes = 256 << 10

  enum Step {
    case incomplete
    case complete(HTTPResponseHead)
    case tooLarge
    case malformed
  }

  private var bytes = 0
  private var status = 0
  private var headers: [(name: String, value: String)] = []
  private var isComplete = false

  /// One line with its line end.
  mutating func append(_ line: UnsafeRawBufferPointer) -> Step {
    bytes += line.count
    guard bytes <= Self.maxBytes else { return .tooLarge }
    if isComplete { return .incomplete }
    let text = Self.trimmed(line[...])
    if text.isEmpty { return endOfHead() }
    if status == 0 { return parseStatusLine(text) }
    appendField(text, isFolded: Self.isBlank(line[line.startIndex]))
    return .incomplete
  }

  private mutating func endOfHead() -> Step {
    guard status != 0 else { return .malformed }
    defer {
      status = 0
      headers = []
    }
    if (100..<200).contains(status) { return .incomplete }
    isComplete = true
    return .complete(HTTPResponseHead(status: status, headers: headers))
  }

  /// "HTTP/1.1 206 Partial Content"
  private mutating func parseStatusLine(_ text: Slice<UnsafeRawBufferPointer>) -> Step {
    guard text.starts(with: "HTTP/".utf8), let space = text.firstIndex(of: 0x20) else {
      return .malformed
    }
    var code = 0
    let digits = text[(space + 1)...].prefix { (0x30...0x39).contains($0) }
    guard digits.count == 3 else { return .malformed }
    for digit in digits { code = code * 10 + Int(digit - 0x30) }
    guard (100..<1000).contains(code) else { return .malformed }
    status = code
    return .incomplete
  }

  private mutating func appendField(_ text: Slice<UnsafeRawBufferPointer>, isFolded: Bool) {
    if isFolded, let last = headers.indices.last {
      headers[last].value += " " + String(decoding: text, as: UTF8.self)
      return
    }
    guard let colon = text.firstIndex(of: 0x3a) else { return }
    let name = Self.trimmed(text[..<colon])
    if name.isEmpty { return }
    let value = Self.trimmed(text[(colon + 1)...])
    headers.append((Self.lowercased(name), String(decoding: value, as: UTF8.self)))
  }

  private static func lowercased(_ name: Slice<UnsafeRawBufferPointer>) -> String {
    String(unsafeUninitializedCapacity: name.count) { buffer in
      for (index, byte) in name.enumerated() {
        // Names are ASCII tokens; anything else could not be said in UTF-8 byte by byte.
        let plain = byte < 0x80 ? byte : 0x3f
        buffer[index] = (0x41...0x5a).contains(plain) ? plain | 0x20 : plain
      }
      return name.count
    }
  }

  private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

  private static func trimmed(
    _ text: Slice<UnsafeRawBufferPointer>
  ) -> Slice<UnsafeRawBufferPointer> {
    func isSpace(_ byte: UInt8) -> Bool { isBlank(byte) || byte == 0x0d || byte == 0x0a }
    var start = text.startIndex
    var end = text.endIndex
    while start < end, isSpace(text[start]) { start += 1 }
    while start < end, isSpace(text[end - 1]) { end -= 1 }
    return text[start..<end]
  }
}

import Glibc

/// Text between tags, and the entities in it.
extension XMLReader {
  mutating func check(_ text: Text) throws(SyntaxError) {
    position = text.start
    while position < text.end,
      let next = memchr(
        bytes.baseAddress! + position, CInt(UInt8(ascii: "&")), text.end - position)
    {
      position = UnsafeRawPointer(next) - bytes.baseAddress!
      _ = try entity()
    }
  }

  mutating func append(
    _ text: Text, to collected: inout [UInt8]
  ) throws(SyntaxError) {
    guard text.hasEntities else {
      collected.append(
        contentsOf: UnsafeRawBufferPointer(rebasing: bytes[text.start..<text.end]))
      return
    }
    let place = position
    defer { position = place }
    position = text.start
    while position < text.end {
      if bytes[position] == UInt8(ascii: "&") {
        let scalar = try entity()
        if scalar.isASCII {
          collected.append(UInt8(scalar.value))
        } else {
          collected.append(contentsOf: String(Character(scalar)).utf8)
        }
      } else {
        let next = memchr(
          bytes.baseAddress! + position, CInt(UInt8(ascii: "&")), text.end - position)
        let end = next.map { UnsafeRawPointer($0) - bytes.baseAddress! } ?? text.end
        collected.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[position..<end]))
        position = end
      }
    }
  }

  private mutating func entity() throws(SyntaxError) -> Unicode.Scalar {
    // What every listing has: quotes around each etag.
    if starts("&quot;") {
      position += 6
      return "\""
    }
    // The longest that is known, "&#x10FFFF;", and leading zeros some writers put.
    let window = bytes[position..<min(bytes.count, position + 16)]
    guard let end = window.firstIndex(of: UInt8(ascii: ";")) else {
      throw failure("'&' that begins no entity")
    }
    let name = String(decoding: bytes[position + 1..<end], as: UTF8.self)
    guard let scalar = CharacterReference.scalar(name) else { throw failure("an unknown entity") }
    position = end + 1
    return scalar
  }
}

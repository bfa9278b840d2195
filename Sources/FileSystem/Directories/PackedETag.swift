import Formats

/// Etags as they are kept. Nearly all are the MD5 of an object in quotes, or that of its parts with
/// their number: 16 and 18 bytes in place of 34 and more. The same etag is always packed alike.
enum PackedETag {
  enum Kind: UInt8 {
    case verbatim
    /// `"` 32 lower-case hex digits `"`.
    case md5
    /// The same with `-` and a number from 1 to 65,535 before the last quote.
    case parts
  }

  /// The longest that is kept: one byte holds the length.
  static let limit = 255

  static func pack(_ etag: UnsafeRawBufferPointer, into blob: inout [UInt8]) -> Kind {
    guard etag.count >= 34, etag[0] == quote, etag[etag.count - 1] == quote else {
      blob.append(contentsOf: etag)
      return .verbatim
    }
    let parts = etag.count == 34 ? 0 : Self.parts(etag)
    guard let parts else {
      blob.append(contentsOf: etag)
      return .verbatim
    }
    var packed: (UInt64, UInt64, UInt16) = (0, 0, UInt16(parts).littleEndian)
    let isPacked = withUnsafeMutableBytes(of: &packed) { packed in
      for index in 0..<16 {
        let high = Self.values[Int(etag[1 + 2 * index])]
        let low = Self.values[Int(etag[2 + 2 * index])]
        if (high | low) > 15 { return false }
        packed[index] = high << 4 | low
      }
      blob.append(contentsOf: UnsafeRawBufferPointer(packed)[..<(parts == 0 ? 16 : 18)])
      return true
    }
    if !isPacked {
      blob.append(contentsOf: etag)
      return .verbatim
    }
    return parts == 0 ? .md5 : .parts
  }

  /// Whether the bytes are as long as `pack` makes them, with a number of parts that it takes.
  static func isWhole(_ bytes: UnsafeRawBufferPointer, _ kind: Kind) -> Bool {
    switch kind {
    case .verbatim: true
    case .md5: bytes.count == 16
    case .parts: bytes.count == 18 && (bytes[16] | bytes[17]) != 0
    }
  }

  /// `bytes`: whole ones.
  static func unpack(_ bytes: UnsafeRawBufferPointer, _ kind: Kind) -> String {
    if kind == .verbatim { return String(decoding: bytes, as: UTF8.self) }
    var number = kind == .parts ? Int(bytes[16]) | Int(bytes[17]) << 8 : 0
    return String(unsafeUninitializedCapacity: 40) { text in
      text[0] = quote
      for index in 0..<16 {
        text[1 + 2 * index] = Hex.digit(bytes[index] >> 4)
        text[2 + 2 * index] = Hex.digit(bytes[index])
      }
      var end = 33
      if number > 0 {
        text[end] = UInt8(ascii: "-")
        var length = 1
        var power = 10
        while number >= power {
          length += 1
          power *= 10
        }
        for place in (0..<length).reversed() {
          text[end + 1 + place] = UInt8(48 + number % 10)
          number /= 10
        }
        end += 1 + length
      }
      text[end] = quote
      return end + 1
    }
  }

  private static let quote = UInt8(ascii: "\"")

  /// The number of parts, written as we would; nil if this is something else.
  private static func parts(_ etag: UnsafeRawBufferPointer) -> Int? {
    guard (36...40).contains(etag.count), etag[33] == UInt8(ascii: "-"), etag[34] != 48 else {
      return nil
    }
    var number = 0
    for index in 34..<etag.count - 1 {
      guard etag[index] &- 48 < 10 else { return nil }
      number = number * 10 + Int(etag[index] &- 48)
    }
    return number <= 65_535 ? number : nil
  }

  /// Of lower-case hex digits; 255 for what is none.
  private static let values = InlineArray<256, UInt8> { index in
    switch index {
    case 48...57: UInt8(index - 48)
    case 97...102: UInt8(index - 87)
    default: 255
    }
  }
}

import CEngineShim

/// The checksum that S3 keeps of an object, for those who ask for it.
enum Checksum {
  /// "" where it was not asked for.
  static func header(_ request: Request, _ body: [UInt8]) -> String {
    guard request.headers["x-amz-checksum-mode"]?.uppercased() == "ENABLED" else { return "" }
    let crc = body.withUnsafeBytes { millrace_crc32c(0, $0.baseAddress, $0.count) }
    let bytes = withUnsafeBytes(of: crc.bigEndian) { Array($0) }
    return "x-amz-checksum-crc32c: \(base64(bytes))\r\nx-amz-checksum-type: FULL_OBJECT\r\n"
  }

  private static func base64(_ bytes: [UInt8]) -> String {
    let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    let word = bytes.reduce(0) { $0 << 8 | UInt64($1) } << 16
    let text = (0..<6).map { digits[Int(word >> UInt64(42 - 6 * $0) & 63)] }
    return String(decoding: text, as: UTF8.self) + "=="
  }
}

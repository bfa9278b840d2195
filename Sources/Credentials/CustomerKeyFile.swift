import Formats
import Posix

/// The key that a customer encrypts objects with (SSE-C), in a file.
public enum CustomerKeyFile {
  /// 32 bytes, which the file holds plain or in base64; `nil` for anything else.
  public static func read(_ path: String) -> [UInt8]? {
    let limit = 4096
    guard let bytes = try? readSmallBytes(path, atMost: limit), bytes.count < limit else {
      return nil
    }
    if bytes.count == 32 { return bytes }
    let text = String(decoding: bytes, as: UTF8.self).filter { !$0.isWhitespace }
    return Base64.decode(text).flatMap { $0.count == 32 ? $0 : nil }
  }
}

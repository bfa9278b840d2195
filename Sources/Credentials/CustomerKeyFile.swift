import Glibc

/// The key that a customer encrypts objects with (SSE-C), in a file.
public enum CustomerKeyFile {
  /// 32 bytes, which the file holds plain or in base64; `nil` for anything else.
  public static func read(_ path: String) -> [UInt8]? {
    let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = Glibc.read(file, &buffer, buffer.count)
    guard count > 0, count < buffer.count else { return nil }
    let bytes = Array(buffer[..<count])
    if bytes.count == 32 { return bytes }
    let text = String(decoding: bytes, as: UTF8.self).filter { !$0.isWhitespace }
    return Base64.decode(text).flatMap { $0.count == 32 ? $0 : nil }
  }
}

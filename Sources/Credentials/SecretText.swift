import Glibc
public import ObjectStore

/// A token in a small file.
public enum SecretText {
  /// The content, without white space round it.
  public static func read(
    _ path: String, what: String, source: String
  ) throws(StoreError) -> String {
    func refused(_ why: String) -> StoreError {
      StoreError(
        .badCredentials, store: source, detail: "cannot read \(path) (\(what)): \(why)")
    }
    let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard file >= 0 else { throw refused(String(cString: strerror(errno))) }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 64 << 10)
    let count = Glibc.read(file, &bytes, bytes.count)
    guard count >= 0 else { throw refused(String(cString: strerror(errno))) }
    guard count < bytes.count else { throw refused("larger than 64 KiB") }
    let space: (UInt8) -> Bool = { $0 <= 0x20 }
    var token = bytes[..<count].drop(while: space)
    while let last = token.last, space(last) { token.removeLast() }
    guard !token.isEmpty, token.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) else {
      throw refused(token.isEmpty ? "it is empty" : "it contains a line break or other characters")
    }
    return String(decoding: token, as: UTF8.self)
  }
}

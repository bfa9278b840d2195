public import ObjectStore
import Posix
import SystemPackage

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
    let limit = 64 << 10
    let bytes: [UInt8]
    do throws(Errno) { bytes = try readSmallBytes(path, atMost: limit) } catch {
      throw refused("\(error)")
    }
    guard bytes.count < limit else { throw refused("larger than 64 KiB") }
    let space: (UInt8) -> Bool = { $0 <= 0x20 }
    var token = bytes[...].drop(while: space)
    while let last = token.last, space(last) { token.removeLast() }
    guard !token.isEmpty, token.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) else {
      throw refused(token.isEmpty ? "it is empty" : "it contains a line break or other characters")
    }
    return String(decoding: token, as: UTF8.self)
  }
}

import Crypto
import ObjectStore

/// The name of a cache file: a hash of everything that makes a version what it is, so that a
/// changed object is another file and the name alone finds it.
package struct FileID: Hashable, Sendable {
  package let high: UInt64
  package let low: UInt64

  /// SHA-256 over store, key, etag and size, each with its length; the time takes the place of a
  /// missing etag. 128 bits of it: no two versions meet by chance.
  init(store: String, version: ObjectVersion) {
    var hash = SHA256()
    func add(_ bytes: some Collection<UInt8>) {
      var length = UInt64(bytes.count).littleEndian
      withUnsafeBytes(of: &length) { hash.update(bufferPointer: $0) }
      let contiguous = Array(bytes)
      contiguous.withUnsafeBytes { hash.update(bufferPointer: $0) }
    }
    add(store.utf8)
    add(version.key.bytes)
    add(version.etag.utf8)
    add("\(version.size)".utf8)
    if version.etag.isEmpty { add("\(version.modified)".utf8) }
    var words = (UInt64(0), UInt64(0))
    withUnsafeMutableBytes(of: &words) { $0.copyBytes(from: Array(hash.finalize()).prefix(16)) }
    high = words.0.bigEndian
    low = words.1.bigEndian
  }

  /// For simulations: a number as a name.
  package init(number: UInt64) {
    high = number
    low = number &* 0x9E37_79B9_7F4A_7C15
  }

  /// Reads a name that `name` made; `nil` for any other.
  init?(name: some StringProtocol) {
    guard name.utf8.count == 32, let high = UInt64(name.prefix(16), radix: 16),
      let low = UInt64(name.dropFirst(16), radix: 16)
    else { return nil }
    self.high = high
    self.low = low
    guard name == self.name else { return nil }
  }

  /// 32 hexadecimal digits.
  var name: String { Self.hex(high) + Self.hex(low) }

  /// The sub-folder that holds it: 256 of them keep each short.
  var folder: String { String(name.prefix(2)) }

  private static func hex(_ word: UInt64) -> String {
    let digits = String(word, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}

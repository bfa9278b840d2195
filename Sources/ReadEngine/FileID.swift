import Crypto
import Formats
import ObjectStore

/// The name of a cache file: a hash of everything that makes a version what it is, so that a
/// changed object is another file and the name alone finds it.
package struct FileID: Hashable, Sendable {
  package let high: UInt64
  package let low: UInt64

  /// SHA-256 over store, key, etag and size, each with its length; the time takes the place of a
  /// missing etag. 128 bits of it: no two versions meet by chance.
  init(store: String, version: ObjectVersion) {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(store.utf8.count + version.key.bytes.count + version.etag.utf8.count + 96)
    func add(_ part: some Collection<UInt8>) {
      withUnsafeBytes(of: UInt64(part.count).littleEndian) { bytes.append(contentsOf: $0) }
      bytes.append(contentsOf: part)
    }
    add(store.utf8)
    add(version.key.bytes)
    add(version.etag.utf8)
    add("\(version.size)".utf8)
    if version.etag.isEmpty { add("\(version.modified)".utf8) }
    (high, low) = SHA256.hash(data: bytes).withUnsafeBytes {
      (
        UInt64(bigEndian: $0.loadUnaligned(as: UInt64.self)),
        UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
      )
    }
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
  var name: String {
    String(unsafeUninitializedCapacity: 32) { text in
      for place in 0..<32 {
        let word = (place < 16 ? high : low) >> UInt64(60 - 4 * (place % 16))
        text[place] = Hex.digit(UInt8(truncatingIfNeeded: word))
      }
      return 32
    }
  }

  /// The sub-folder that holds it: 256 of them keep each short.
  var folder: String { String(name.prefix(2)) }
}

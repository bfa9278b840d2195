/// The name of an object in its store: bytes, compared as bytes.
///
/// Not a `String`: Swift compares strings by canonical equivalence, so that two keys that differ
/// only in how an accent is composed would be one.
public struct ObjectKey: Hashable, Comparable, Sendable, CustomStringConvertible {
  public var bytes: [UInt8]

  public init(bytes: [UInt8]) { self.bytes = bytes }
  public init(_ string: String) { bytes = Array(string.utf8) }

  public static let root = ObjectKey(bytes: [])

  /// For messages: invalid UTF-8 is shown with replacement characters.
  public var description: String { String(decoding: bytes, as: UTF8.self) }

  public static func < (left: ObjectKey, right: ObjectKey) -> Bool {
    left.bytes.lexicographicallyPrecedes(right.bytes)
  }

  public func hasPrefix(_ prefix: ObjectKey) -> Bool { bytes.starts(with: prefix.bytes) }

  public static func + (prefix: ObjectKey, suffix: some Sequence<UInt8>) -> ObjectKey {
    ObjectKey(bytes: prefix.bytes + suffix)
  }
}

import ObjectStore

/// The Content-Range of a response (RFC 9110 14.4): "bytes 0-99/1000".
public struct ContentRange: Equatable {
  /// Not empty; ends below `ObjectSize.limit`.
  public var range: Range<UInt64>
  /// Bytes of the whole; nil: "*", the server does not say. May be more than an object can have.
  public var total: UInt64?

  /// Nil: another unit, no range ("*"), or numbers that contradict each other.
  public init?(_ text: String) {
    let words = text.split(separator: " ")
    guard words.count == 2, words[0].lowercased() == "bytes" else { return nil }
    let parts = words[1].split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2 else { return nil }
    let ends = parts[0].split(separator: "-", omittingEmptySubsequences: false)
    guard ends.count == 2, let first = ObjectSize.parse(ends[0]),
      let last = ObjectSize.parse(ends[1]), first <= last, last < ObjectSize.limit
    else { return nil }
    range = first..<(last + 1)
    if parts[1] == "*" { return }
    guard let total = ObjectSize.parse(parts[1]), last < total else { return nil }
    self.total = total
  }
}

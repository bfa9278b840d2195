/// Entity tags are opaque, but some stores write the same one with and without quotes.
public enum EntityTag {
  /// In quotes; weak tags and the empty text stay.
  public static func normalized(_ tag: String) -> String {
    tag.isEmpty || tag.hasPrefix("\"") || tag.hasPrefix("W/") ? tag : "\"\(tag)\""
  }

  /// The same in place.
  public static func normalize(_ tag: inout [UInt8]) {
    guard let first = tag.first, first != UInt8(ascii: "\"") else { return }
    if first == UInt8(ascii: "W"), tag.count > 1, tag[1] == UInt8(ascii: "/") { return }
    tag.insert(UInt8(ascii: "\""), at: 0)
    tag.append(UInt8(ascii: "\""))
  }

  /// A proxy that compresses makes a tag weak; the ranges that we ask for are never compressed.
  public static func areEqual(_ one: String, _ other: String) -> Bool {
    strong(one) == strong(other)
  }

  private static func strong(_ tag: String) -> Substring {
    tag.hasPrefix("W/") ? tag.dropFirst(2) : normalized(tag)[...]
  }
}

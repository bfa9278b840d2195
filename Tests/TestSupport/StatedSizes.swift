public import ObjectStore

/// Sizes that stores and lists state: what can be read comes through exactly, what is larger is marked and left out of
/// pages, what is no number of bytes is not known.
public enum StatedSizes {
  public static let readable: [UInt64] = [
    0, 1, 1 << 31, 1 << 32, 53_660_000_000_000, 1 << 53 - 1, 1 << 53,
  ]
  public static let tooLarge = [
    "9007199254740993", "144115188075855872", "4611686018427387904", "9223372036854775807",
    "9223372036854775808", "18446744073709420543", "18446744073709551615", "18446744073709551616",
    String(repeating: "9", count: 400),
  ]
  public static let unreadable = [
    "-1", "-9223372036854775808", "", "1e3", "0x10", "12 ", "1.5", "+5", "ten",
  ]

  /// What is wrong with a parser of listings. `page`: one in which a source states the size of `d/big`, beside
  /// `d/other` of 5 bytes.
  public static func complaints(_ page: (_ size: String) throws -> ListPage) throws -> [String] {
    var wrong: [String] = []
    for size in readable {
      let found = try page("\(size)")
      if found.objects.map(\.size) != [size, 5] || found.oversized != 0 { wrong.append("\(size)") }
    }
    for size in tooLarge {
      let found = try page(size)
      if found.objects.map(\.key) != [ObjectKey("d/other")] || found.oversized != 1
        || !found.folderExists
      {
        wrong.append(size)
      }
    }
    for size in unreadable {
      let found = try page(size)
      if found.objects.map(\.size) != [nil, 5] || found.oversized != 0 { wrong.append(size) }
    }
    return wrong
  }
}

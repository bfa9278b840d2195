/// A group of measurements that belong together: one mount, or one and its successor over the same cache.
enum Work: String, CaseIterable {
  case sequential, random, small
  case smallCold = "small-cold"
  case big
  case firstByte = "first-byte"
  case scattered, shared, start

  var explanation: String {
    switch self {
    case .sequential: "the large file by one reader: cold, from disk, and once more from memory"
    case .random: "4 KiB at random places of the large file, two readers, from disk"
    case .small: "the small files by four readers: from disk, and once more from memory"
    case .smallCold: "the small files by sixteen readers, nothing cached"
    case .big: "a file of 2 GiB by one reader, nothing cached, beside what the link carries raw"
    case .firstByte: "the first byte of files, one after another, nothing cached"
    case .scattered: "128 KiB at random unaligned places, eight readers, by read and by mapping"
    case .shared: "one object by four readers from four places round, cached and with O_DIRECT"
    case .start: "from mount to the first listing, and memory when idle"
    }
  }

  var links: Set<String> {
    switch self {
    case .sequential, .random, .small, .start: ["loopback"]
    case .smallCold: ["loopback", "s3"]
    case .big: ["s3", "far"]
    case .firstByte, .scattered, .shared: ["s3"]
    }
  }
}

/// One line of the table.
struct Measure: Hashable, Sendable {
  var name: String
  var unit: String
  /// A wait: less is better.
  var isWait = false

  static func rate(_ name: String) -> Measure { Measure(name: name, unit: "MB/s") }
}

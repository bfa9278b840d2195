import Glibc

/// Bytes that are the same for the same seed, cheap to make even in a debug build.
public func seededBytes(_ count: Int, seed: UInt64) -> [UInt8] {
  var state = seed &* 0x9e37_79b9_7f4a_7c15 | 1
  let words = (count + 7) / 8
  return [UInt8](unsafeUninitializedCapacity: words * 8) { buffer, initialized in
    for word in 0..<words {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      var value = state ^ (state >> 29)
      withUnsafeBytes(of: &value) {
        UnsafeMutableRawBufferPointer(buffer).baseAddress!.advanced(by: word * 8)
          .copyMemory(from: $0.baseAddress!, byteCount: 8)
      }
    }
    initialized = count
  }
}

/// A small tree of files whose sizes lie on and around every boundary that the cache has.
public enum DataSet {
  /// The cache's unit of presence (DESIGN: 128 KiB).
  public static let piece = 128 << 10

  /// About 30 MB in some 130 files: 0, 1, a piece less one, a piece, one more, several pieces, more
  /// than one range of any store, and a hundred small ones in nested folders.
  public static func edges(in folder: TemporaryFolder, named name: String = "tree") throws
    -> String
  {
    let sizes = [
      0, 1, 4095, 4096, 4097, piece - 1, piece, piece + 1, 3 * piece + 17, (1 << 20) + 1,
      (9 << 20) + 13, 17 << 20,
    ]
    for (index, size) in sizes.enumerated() {
      try folder.file("\(name)/sizes/\(size).bin", seededBytes(size, seed: UInt64(index + 1)))
    }
    for index in 0..<100 {
      let size = 100 + index * 37 % 5000
      try folder.file(
        "\(name)/small/a\(index % 5)/b\(index % 3)/\(index).txt",
        seededBytes(size, seed: UInt64(1000 + index)))
    }
    return folder.path(name)
  }

  /// Names that are odd, but that both a folder and an S3 server can hold.
  public static func oddNames() -> [String] {
    let single = [
      "a b", " leading", "trailing ", "plus+plus", "k=v", "50%", "%2F", "%41", "a&b", "a#b", "a?b",
      "it's", "say \"hi\"", "semi;colon", "co,mma", "co:lon", "at@at", "dollar$", "tilde~", "(x)",
      "[x]", "{x}", "<x>", "back`tick", "pipe|", "caret^", "star*", "excl!", "ümläut", "日本語",
      "e\u{301}", "\u{e9}", "🚂", ".hidden", "..dots", "...", "-dash", "_", "year=2024",
    ]
    return single + [
      String(repeating: "n", count: 255), String(repeating: "é", count: 127),
      "deep/ä b/c+d/e=f/%25.txt",
    ]
  }
}

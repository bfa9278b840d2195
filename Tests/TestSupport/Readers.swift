/// Readers of a mount that are not this process: Tests/Tools/readers.py.
public enum Readers {
  /// How every byte is read.
  public enum Mode: String, Sendable, CaseIterable {
    /// From the start to the end, blocks of 1 MiB.
    case read
    /// Blocks of odd sizes in random order, by position.
    case pread
    /// Through a mapping of the file.
    case mmap
  }

  /// Compares every file under `mount` with the file of the same path under `source`, names, sizes
  /// and sha256, by `readers` threads at once; throws with the differences.
  public static func compare(
    _ source: String, _ mount: String, mode: Mode = .read, readers: Int = 1, seed: UInt64 = 1,
    within: Duration = .seconds(240)
  ) throws {
    try CommandResult.check(
      tool("compare", source, mount, mode.rawValue, String(readers), String(seed)), within: within)
  }

  /// The same by `cp -r` into `scratch` and a comparison of the copy.
  public static func compareCopy(
    _ source: String, _ mount: String, scratch: TemporaryFolder, within: Duration = .seconds(240)
  ) throws {
    let copy = scratch.path("copy")
    try CommandResult.check(["cp", "-r", mount, copy], within: within)
    try CommandResult.check(["diff", "-r", source, copy], within: within)
    removeTree(copy)
  }

  /// Reads one file whole, in blocks of 1 MiB, by `readers` threads, each the whole of it.
  public static func readWhole(
    _ file: String, readers: Int = 1, within: Duration = .seconds(240)
  ) throws {
    try CommandResult.check(tool("whole", file, String(readers)), within: within)
  }

  public static func tool(_ arguments: String...) -> [String] {
    ["/usr/bin/python3", Checkout.tools + "/readers.py"] + arguments
  }
}

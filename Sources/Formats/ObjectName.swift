/// Which names can be files below a mount, and mean the same to a server.
public enum ObjectName {
  /// One name in a directory: not empty, no "/", no NUL, neither "." nor "..".
  public static func isSegment(_ name: some Collection<UInt8>) -> Bool {
    !name.isEmpty && !name.elementsEqual(".".utf8) && !name.elementsEqual("..".utf8)
      && !name.contains { $0 == UInt8(ascii: "/") || $0 == 0 }
  }

  /// One or more segments with one "/" between: what a server cannot take for another path.
  public static func isPath(_ bytes: ArraySlice<UInt8>) -> Bool {
    bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
      .allSatisfy { isSegment($0) }
  }
}

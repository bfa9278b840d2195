/// An order as `millrace stats` shows it.
public struct OrderReport: Sendable, Codable {
  public var name: String
  /// Lines, those of them that were opened, and those that were fetched ahead or found here.
  public var files: Int
  public var opened: Int
  public var ahead: Int
  /// Fetched ahead and not read yet, bytes.
  public var bytesAhead: UInt64
  /// Opened before they had been fetched.
  public var late: Int
  /// Lines that are no files of the mount, as far as was looked.
  public var notFound: Int
  /// Fetched for lines that readers have passed, bytes.
  public var unusedBytes: UInt64
  /// Memory of its text and tables, bytes.
  public var memory: Int
}

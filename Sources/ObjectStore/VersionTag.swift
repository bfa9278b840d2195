/// An etag together with the store's own name of the version, where a tree of old versions is shown:
/// one opaque text, so that all that is kept of an object names its version too.
public struct VersionTag: Equatable, Sendable {
  /// No etag and no version's name has it.
  private static let separator = UInt8(0x1F)

  public var etag: String
  /// `nil`: whichever version is the latest.
  public var version: String?

  public init(etag: String, version: String?) {
    self.etag = etag
    self.version = version
  }

  /// Takes `ObjectVersion.etag` apart.
  public init(_ text: String) {
    let bytes = text.utf8
    guard let mark = bytes.firstIndex(of: Self.separator) else {
      etag = text
      return
    }
    etag = String(text[..<mark])
    version = String(text[bytes.index(after: mark)...])
  }

  public var text: String {
    version.map { "\(etag)\(Character(Unicode.Scalar(Self.separator)))\($0)" } ?? etag
  }
}

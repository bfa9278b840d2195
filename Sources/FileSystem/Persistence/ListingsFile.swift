public import Posix

/// The file in which listings are kept from one mount to the next: its folder, which only this user may
/// change, and its name there.
public struct ListingsFile: Sendable, CustomStringConvertible {
  /// The directory that it is in.
  public var folder: PrivateFolder
  /// Without a "/".
  public var name: String

  /// `folder`: only this user may change it.
  public init(folder: PrivateFolder, name: String = "listings") {
    self.folder = folder
    self.name = name
  }

  /// For messages.
  public var description: String { "\(folder.path)/\(name)" }
}

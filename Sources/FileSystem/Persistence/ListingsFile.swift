public import Posix

/// The file in which listings are kept from one mount to the next: its folder, which only this user may
/// change, and its name there.
public struct ListingsFile: Sendable, CustomStringConvertible {
  public var folder: PrivateFolder
  public var name: String

  public init(folder: PrivateFolder, name: String = "listings") {
    self.folder = folder
    self.name = name
  }

  /// For messages.
  public var description: String { "\(folder.path)/\(name)" }
}

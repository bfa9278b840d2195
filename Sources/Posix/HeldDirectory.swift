import Glibc
public import SystemPackage

/// A directory held open by its place alone (O_PATH), for which no right to read it is needed.
///
/// For what root does in directories of other users: what is done below `path` is done in this very directory, though
/// its owner renames directories above it, or replaces them by links, after they were checked.
public final class HeldDirectory: Sendable {
  private let descriptor: OwnedDescriptor

  /// `followsLink`: `path` itself may be a link. Those above it are followed always.
  public init(_ path: String, followsLink: Bool = false) throws(Errno) {
    descriptor = try OwnedDescriptor.open(
      path, openPathOnly | O_DIRECTORY | (followsLink ? 0 : O_NOFOLLOW))
  }

  /// Leads to it, wherever it has been moved: for this process, as long as this object lives.
  public var path: String { "/proc/self/fd/\(descriptor.raw)" }

  /// Whether it stands where `path` says, which is absolute and without links.
  public func isAt(_ path: String) -> Bool {
    descriptorTarget(descriptor.raw).elementsEqual(path.utf8)
  }

  /// What to tell the user where it, or what was checked below it, is another than before.
  public static let replacementAdvice = "a directory above it was replaced; try again"
}

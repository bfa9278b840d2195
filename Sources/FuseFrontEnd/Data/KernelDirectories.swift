import FileSystem
import Posix

/// What the kernel has of the mount's directories, and whether it is given the attributes of their files: the two
/// values that decide so, under a lock each.
final class KernelDirectories: Sendable {
  private let copies = Lock(KernelDirectoryCache())
  private let readdirplus = Lock(ReaddirplusPolicy())

  /// A directory is opened. True: the kernel may go on with the names that it has of it.
  func opened(_ node: NodeID, _ directory: OpenFolder) -> Bool {
    let wantsAttributes = readdirplus.withLock { $0.opened(node, count: directory.count) }
    return copies.withLock {
      $0.keepsNames(
        of: node, listedAt: directory.unchangedSince, wantsAttributes: wantsAttributes)
    }
  }

  /// Whether READDIRPLUS of a directory gives the attributes of files, too.
  func givesAttributes(of node: NodeID) -> Bool { readdirplus.withLock { $0.givesAll(of: node) } }

  /// A file was looked up by its name.
  func lookedUpFile(in parent: NodeID) { readdirplus.withLock { $0.lookedUp(in: parent) } }

  /// The node is gone, or the kernel was notified to drop its copy.
  func forget(_ node: NodeID) { copies.withLock { $0.forget(node) } }
}

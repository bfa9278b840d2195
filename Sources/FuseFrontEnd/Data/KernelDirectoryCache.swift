import FileSystem
import Posix

/// Which listing of each folder the kernel has its own copy of.
///
/// The kernel keeps a folder's names for as long as opens say so; an open says so if it reads the
/// same listing as the last one did, so the copy is never older than the file system's own.
struct KernelDirectoryCache {
  private struct Copy: Equatable {
    var listedAt: Instant
    /// Read together with the attributes of its files.
    var hasAttributes: Bool
  }

  private var listings: [NodeID: Copy] = [:]
  /// Folders remembered; one that does not fit is read anew at each open.
  private let limit: Int

  init(limit: Int = 65_536) { self.limit = limit }

  /// Decides for one open of a folder whose listing was begun at `listedAt`: true, the kernel may
  /// go on with the names it has. Not if attributes are wanted that did not come with them.
  mutating func keepsNames(
    of node: NodeID, listedAt: Instant, wantsAttributes: Bool = false
  ) -> Bool {
    let known = listings[node]
    if let known, known.listedAt == listedAt, known.hasAttributes || !wantsAttributes {
      return true
    }
    if listings.count < limit || known != nil {
      listings[node] = Copy(listedAt: listedAt, hasAttributes: wantsAttributes)
    }
    return false
  }

  /// The node is gone, or the kernel was notified to drop its copy.
  mutating func forget(_ node: NodeID) { listings[node] = nil }
}

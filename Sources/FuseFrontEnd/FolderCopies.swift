import FileSystem
import Posix

/// Which listing of each folder the kernel has its own copy of.
///
/// The kernel keeps a folder's names for as long as opens say so; an open says so if it reads the
/// same listing as the last one did, so the copy is never older than the file system's own.
struct FolderCopies {
  private var listings: [NodeID: Instant] = [:]
  /// Folders remembered; one that does not fit is read anew at each open.
  private let limit: Int

  init(limit: Int = 65_536) { self.limit = limit }

  /// Decides for one open of a folder whose listing was begun at `listedAt`: true, the kernel may
  /// go on with the names it has.
  mutating func keepsNames(of node: NodeID, listedAt: Instant) -> Bool {
    if listings[node] == listedAt { return true }
    if listings.count < limit || listings[node] != nil { listings[node] = listedAt }
    return false
  }

  /// The node is gone, or the kernel was told to drop what it has.
  mutating func forget(_ node: NodeID) { listings[node] = nil }
}

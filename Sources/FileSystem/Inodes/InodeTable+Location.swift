import ObjectStore
import Posix

extension InodeTable {
  /// An inode that no listing has.
  struct Unlisted: Equatable {
    let directory: ObjectKey
    let name: [UInt8]
    var seen: Observation
    /// When the store last showed this version.
    var checked: Instant
    /// The path has another version by now, or none.
    var isStale = false
  }

  /// Where name and attributes of an inode are.
  enum Location: Equatable {
    case listed(ListingID, entry: Int)
    case unlisted(Unlisted)
  }
}

import FileSystem
import Glibc
import SystemPackage

/// A node of the control directory as programs see it. Owner and group are the mount's.
struct ControlNode: Equatable {
  var number: NodeID
  /// Type and permissions.
  var mode: mode_t
  /// Seconds that the kernel may use the name without asking again: names of orders come and go with them.
  var nameTimeout: Double
}

/// What the control directory answers to one request. What it hands over (a lookup, an open file) is taken back where
/// the kernel does not get the answer: `ControlDirectory.takeBack`.
enum ControlAnswer {
  case done
  case failed(Errno)
  case entry(ControlNode)
  case attributes(ControlNode)
  /// All entries of the directory, in order; the kernel wants those from `offset` on.
  case entries([ControlEntry], from: Int)
  case openedDirectory
  case opened(UInt64)
  case created(ControlNode, UInt64)
  case bytes(ArraySlice<UInt8>)
  case written(Int)
  /// Answered later: by `ControlDirectory.flush` of this file, when its order is in force.
  case flush(UInt64)
  /// Answered later: by `ControlDirectory.openReport`, once it is made.
  case openReport(ControlReport)
}

struct ControlEntry: Equatable {
  var name: String
  var node: ControlNode
}

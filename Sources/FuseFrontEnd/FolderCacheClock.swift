import FileSystem
import Posix

/// For which folders the kernel's own copy of the names is still as new as the TTL promises.
///
/// The kernel keeps a folder's names for as long as opens say so; so an open says so only until the
/// time has passed since the open that let the kernel read them anew.
struct FolderCacheClock {
  private let validFor: Duration
  private var readAnew: [NodeID: Instant] = [:]
  /// Folders remembered; one that does not fit is read anew at each open.
  private let limit: Int

  init(validFor: Duration, limit: Int = 65_536) {
    self.validFor = validFor
    self.limit = limit
  }

  /// Whether the kernel may keep names at all.
  var isEnabled: Bool { validFor > .zero }

  /// Decides for one open: true, the kernel may go on with the names it has.
  mutating func keepsNames(of node: NodeID, at now: Instant) -> Bool {
    guard isEnabled else { return false }
    if let since = readAnew[node], now - since < validFor { return true }
    if readAnew.count >= limit {
      readAnew = readAnew.filter { now - $0.value < validFor }
    }
    if readAnew.count < limit || readAnew[node] != nil { readAnew[node] = now }
    return false
  }

  mutating func forget(_ node: NodeID) { readAnew[node] = nil }
}

/// Whether the paths of an order exist on the mount: of its first lines, before it is put in force.
///
/// An order whose lines are relative to something else is the commonest mistake, and says nothing by itself: no
/// file is ever prefetched.
import FileSystem
import Posix
import SystemPackage

struct OrderCheck {
  /// Lines that are looked up.
  static let lineLimit = 1000
  /// A store that is slow or away does not keep an order from being taken.
  static let patience = Duration.seconds(5)

  /// Lines that were looked up, and those of them that are no files of the mount.
  private(set) var checked = 0
  private(set) var notFound = 0
  private(set) var firstNotFound: [UInt8]?
  /// All of them were.
  let isComplete: Bool

  init(
    _ text: OrderText, _ fileSystem: FileSystem, by deadline: Instant, isStopping: () -> Bool
  ) {
    let count = min(text.count, Self.lineLimit)
    var checked = 0
    for start in stride(from: 0, to: count, by: VersionLookup.step) {
      if Instant.now >= deadline || isStopping() { break }
      let paths = (start..<min(count, start + VersionLookup.step)).map { text[$0] }
      let found = VersionLookup(fileSystem: fileSystem).versions(of: paths) {
        Instant.now >= deadline || isStopping()
      }
      for (path, version) in zip(paths, found) {
        if case .failure(.canceled) = version { continue }
        checked += 1
        guard case .failure(let error) = version, Self.isAbsence(error) else { continue }
        notFound += 1
        if firstNotFound == nil { firstNotFound = path }
      }
    }
    self.checked = checked
    isComplete = checked == count
  }

  /// Not one of the lines is a file.
  var hasNothing: Bool { isComplete && checked > 0 && notFound == checked }

  private static func isAbsence(_ error: Errno) -> Bool {
    error == .noSuchFileOrDirectory || error == .isDirectory || error == .notDirectory
  }
}

/// When orders are checked: not while the store is slow, or each of many would wait for it, and not at the end.
final class OrderChecking: Sendable {
  private struct State {
    var isStopping = false
    var pausedUntil = Instant(nanoseconds: 0)
  }

  private static let pause = Duration.seconds(60)
  private let state = Lock(State())

  var mayCheck: Bool { state.withLock { !$0.isStopping && Instant.now >= $0.pausedUntil } }
  var isStopping: Bool { state.withLock { $0.isStopping } }
  /// A check did not come to its end in time.
  func pause() { state.withLock { $0.pausedUntil = .now + Self.pause } }
  func stop() { state.withLock { $0.isStopping = true } }
}

/// What came of an order that was given.
public struct OrderReceipt: Sendable, Codable, Equatable {
  /// Its paths.
  public var files = 0
  /// Paths looked up before it was taken: the first 1,000, fewer where the store is slow.
  public var pathsChecked = 0
  /// Of those, paths that are no files of the mount.
  public var pathsNotFound = 0
  /// The first of them.
  public var firstNotFound: String?

  /// A sentence about paths that do not exist; nil: all that were checked do.
  public var warning: String? {
    guard pathsNotFound > 0 else { return nil }
    return
      "\(pathsNotFound) of the first \(pathsChecked) paths are not files of the mount, such as "
      + "'\(firstNotFound ?? "")'; paths are relative to the mount point"
  }
}

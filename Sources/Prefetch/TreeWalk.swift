/// All files of a folder, of it and all below it, or of all below it alone, a slice at a time.
///
/// Blocks its caller while the store lists, for no longer than the file system waits for a listing.
import FileSystem
import ObjectStore
import Posix
import SystemPackage

final class TreeWalk {
  private let fileSystem: FileSystem
  enum Extent { case folder, tree, treeBelow }

  /// Which files, and where among them to begin.
  struct Scope {
    var folder: ObjectKey
    var extent: Extent
    /// Entry of `folder` to begin with.
    var index = 0
    /// Sub-folder of `folder` to begin with; those before it come last.
    var first: ObjectKey?
  }

  private let extent: Extent
  private let top: ObjectKey
  /// The next one last.
  private var waiting: [ObjectKey]
  private var current: ObjectKey?
  private var index = 0
  private var found: [ObjectKey] = []
  private let isStopped: () -> Bool
  /// As in `Scope`, until its folder was listed.
  private var first: ObjectKey?

  /// What was found since it was looked at last.
  struct Findings {
    /// Directories that could not be listed, and files whose size is not known.
    var failures: [(key: ObjectKey, reason: String)] = []
    /// Files of which the listing has no size and none was asked for.
    var unsized = 0
  }

  private var findings = Findings()
  private let asksSizes: Bool

  /// Entries asked for at once.
  private static let step = 512

  init(
    _ fileSystem: FileSystem, _ scope: Scope, asksSizes: Bool = true,
    isStopped: @escaping () -> Bool
  ) {
    self.asksSizes = asksSizes
    self.fileSystem = fileSystem
    extent = scope.extent
    top = scope.folder
    self.isStopped = isStopped
    first = scope.first
    index = scope.index
    waiting = []
    current = scope.folder
  }

  /// The next files, in the order of the listings, perhaps none; nil at the end.
  func next() -> [ObjectVersion]? {
    while !isStopped() {
      guard let folder = current else {
        guard let folder = waiting.popLast() else { return nil }
        current = folder
        index = 0
        continue
      }
      switch slice(of: folder) {
      case .failure(let error):
        findings.failures.append((folder, "\(error)"))
        end()
      case .success(let slice):
        index = slice.next
        if extent != .folder { found += slice.folders }
        if slice.isLast { end() }
        if extent == .treeBelow, folder == top { continue }
        findings.failures += slice.failures.map { ($0.key, "\($0.error)") }
        findings.unsized += slice.unsized
        if !slice.files.isEmpty || slice.unsized > 0 || !slice.failures.isEmpty {
          return slice.files
        }
      }
    }
    return nil
  }

  func takeFindings() -> Findings {
    defer { findings = Findings() }
    return findings
  }

  private func end() {
    current = nil
    if let first, let at = found.firstIndex(of: first) {
      found = Array(found[at...] + found[..<at])
    }
    first = nil
    waiting += found.reversed()
    found = []
  }

  private func slice(of folder: ObjectKey) -> Result<FolderSlice, Errno> {
    let answer = Monitor<Result<FolderSlice, Errno>?>(nil)
    // What is passed over needs no sizes.
    let asks = asksSizes && (extent != .treeBelow || folder != top)
    let stop = StopFlag()
    fileSystem.slice(of: folder, from: index, limit: Self.step, asksSizes: asks, stop: stop) {
      result in
      answer.signal(all: true) { $0 = result }
    }
    // The file system ends each listing; looking now and then is for those who stop meanwhile.
    while true {
      let result: Result<FolderSlice, Errno>? = answer.wait(until: .now + .milliseconds(200)) { $0 }
      if let result { return result }
      if isStopped() {
        stop.set()
        return .failure(.canceled)
      }
    }
  }
}

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

  private let extent: Extent
  private let top: ObjectKey
  /// The next one last.
  private var waiting: [ObjectKey]
  private var current: ObjectKey?
  private var index = 0
  private var found: [ObjectKey] = []
  private let isStopped: () -> Bool
  /// Of the folder at the top, the sub-folder to begin with; those before it come last.
  private var first: ObjectKey?

  /// Folders that could not be listed.
  private(set) var failures: [(folder: ObjectKey, error: Errno)] = []

  /// Entries asked for at once.
  private static let step = 512

  init(
    _ fileSystem: FileSystem, folder: ObjectKey, _ extent: Extent, from index: Int = 0,
    first: ObjectKey? = nil, isStopped: @escaping () -> Bool
  ) {
    self.fileSystem = fileSystem
    self.extent = extent
    top = folder
    self.isStopped = isStopped
    self.first = first
    self.index = index
    waiting = []
    current = folder
  }

  /// The next files, in the order of the listings; nil at the end.
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
        failures.append((folder, error))
        end()
      case .success(let slice):
        index = slice.next
        if extent != .folder { found += slice.folders }
        if slice.isLast { end() }
        if !slice.files.isEmpty, extent != .treeBelow || folder != top { return slice.files }
      }
    }
    return nil
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
    fileSystem.slice(of: folder, from: index, limit: Self.step) { result in
      answer.signal(all: true) { $0 = result }
    }
    // The file system ends each listing; looking now and then is for those who stop meanwhile.
    while true {
      let result: Result<FolderSlice, Errno>? = answer.wait(until: .now + .milliseconds(200)) { $0 }
      if let result { return result }
      if isStopped() { return .failure(.canceled) }
    }
  }
}

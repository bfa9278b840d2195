import FileSystem
import ObjectStore
import Posix
import SystemPackage

/// The files that paths of a job stand for, in their order, a slice at a time.
final class JobFiles {
  private let fileSystem: FileSystem
  private let isStopped: () -> Bool
  private let paths: [[UInt8]]
  private var index = 0
  private var ready: [Result<ObjectVersion, Errno>] = []
  private var firstReady = 0
  private var walk: TreeWalk?
  private var found: [(path: [UInt8], reason: String)] = []
  private let asksSizes: Bool
  /// Files of directories of which no size is known, where `asksSizes` is false.
  private(set) var unsized = 0

  init(
    _ fileSystem: FileSystem, _ paths: [[UInt8]], asksSizes: Bool = true,
    isStopped: @escaping () -> Bool
  ) {
    self.asksSizes = asksSizes
    self.fileSystem = fileSystem
    self.paths = paths
    self.isStopped = isStopped
  }

  /// Paths that do not exist, directories that could not be listed, and files of unknown size, since it was asked last.
  func takeFailures() -> [(path: [UInt8], reason: String)] {
    defer { found = [] }
    return found
  }

  /// Perhaps no files; nil at the end, or when stopped. Blocks as the file system does.
  func next() -> [ObjectVersion]? {
    while !isStopped() {
      if let walk {
        let files = walk.next()
        let findings = walk.takeFindings()
        found += findings.failures.map { (fileSystem.path(ofKey: $0.key), $0.reason) }
        unsized += findings.unsized
        if let files { return files }
        self.walk = nil
      }
      guard index < paths.count else { return nil }
      var files: [ObjectVersion] = []
      while walk == nil, index < paths.count, files.count < VersionLookup.step {
        if let version = take() { files.append(version) }
      }
      if !files.isEmpty { return files }
    }
    return nil
  }

  private func take() -> ObjectVersion? {
    let path = paths[index]
    defer { index += 1 }
    if path.isEmpty {
      start(path)
      return nil
    }
    if index - firstReady >= ready.count {
      firstReady = index
      ready = VersionLookup(fileSystem: fileSystem).versions(
        of: Array(paths[index..<min(paths.count, index + VersionLookup.step)]),
        isStopped: isStopped)
    }
    switch ready[index - firstReady] {
    case .success(let version): return version
    case .failure(.isDirectory): start(path)
    case .failure(let error): found.append((path, Self.reason(error)))
    }
    return nil
  }

  private static func reason(_ error: Errno) -> String {
    error == .noSuchFileOrDirectory
      ? "\(error); if it is new in the store, millrace refresh lets it be seen" : "\(error)"
  }

  private func start(_ path: [UInt8]) {
    let scope = TreeWalk.Scope(folder: fileSystem.keys(ofPath: path).folder, extent: .tree)
    walk = TreeWalk(fileSystem, scope, asksSizes: asksSizes, isStopped: isStopped)
  }
}

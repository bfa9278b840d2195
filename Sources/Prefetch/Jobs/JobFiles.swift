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
  private var found: [(path: [UInt8], error: Errno)] = []

  init(_ fileSystem: FileSystem, _ paths: [[UInt8]], isStopped: @escaping () -> Bool) {
    self.fileSystem = fileSystem
    self.paths = paths
    self.isStopped = isStopped
  }

  /// Paths that are nothing, and folders that could not be listed, since it was asked last.
  func takeFailures() -> [(path: [UInt8], error: Errno)] {
    defer { found = [] }
    return found
  }

  /// Nil at the end, or when stopped. Blocks as the file system does.
  func next() -> [ObjectVersion]? {
    while !isStopped() {
      if let walk {
        if let files = walk.next() { return files }
        found += walk.failures.map { (fileSystem.path(ofKey: $0.folder), $0.error) }
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
    case .failure(let error): found.append((path, error))
    }
    return nil
  }

  private func start(_ path: [UInt8]) {
    walk = TreeWalk(
      fileSystem, folder: fileSystem.keys(ofPath: path).folder, .tree,
      isStopped: isStopped)
  }
}

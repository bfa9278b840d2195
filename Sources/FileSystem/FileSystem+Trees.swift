/// For those who look at names without being the kernel: what is in a folder, which version a path has,
/// what is being opened.
public import ObjectStore
import Posix
import ReadEngine
import SystemPackage

/// A file that a process opens.
public struct OpenedFile: Sendable {
  /// The key of its folder, ends in "/" (empty: the root of a store).
  public var folder: ObjectKey
  public var name: [UInt8]
  public var version: ObjectVersion
  /// As `ReadEngine.hash` gives it.
  public var hash: UInt64
}

/// A part of a folder, in the order of its listing.
public struct FolderSlice: Sendable {
  public var files: [ObjectVersion] = []
  /// Files whose size neither the listing nor the store tells, and why.
  public var failures: [(key: ObjectKey, error: StoreError)] = []
  /// Files that the listing has no size of, where sizes were not to be asked for.
  public var unsized = 0
  /// Keys, which end in "/".
  public var folders: [ObjectKey] = []
  /// Where the next slice starts.
  public var next = 0
  /// Nothing comes after this slice.
  public var isLast = false
}

extension FileSystem {
  /// Called for each open that succeeds, on the thread that answers it: it must be short.
  public func onOpen(_ handler: @escaping @Sendable (OpenedFile) -> Void) {
    openHandler.withLock { $0 = Callback(handler) }
  }

  func tellOpened(_ node: Node, _ version: ObjectVersion, _ object: OpenObject) {
    guard let handler = openHandler.withLock({ $0 }) else { return }
    handler(OpenedFile(folder: node.folder, name: node.name, version: version, hash: object.hash))
  }

  /// The key of the root of the mount.
  public var rootFolder: ObjectKey { prefix }

  /// A path relative to the mount as the key of a file, and as that of a folder.
  public func keys(ofPath path: [UInt8]) -> (file: ObjectKey, folder: ObjectKey) {
    if path.isEmpty { return (prefix, prefix) }
    let key = prefix + path
    return (key, key + [NameRules.slash])
  }

  /// A key as a path relative to the mount.
  public func path(ofKey key: ObjectKey) -> [UInt8] {
    Array(key.bytes.dropFirst(prefix.bytes.count))
  }

  /// At most `limit` entries of a folder from `index` on, which is listed if it must. Sizes that the listing does not
  /// have are requested if `asksSizes`, until `stop` is set, and counted otherwise. Archived files are left out. The
  /// reply comes at once or from a thread of the store's.
  public func slice(
    of folder: ObjectKey, from index: Int, limit: Int, asksSizes: Bool = true,
    stop: StopFlag = StopFlag(), reply: @escaping Reply<FolderSlice>
  ) {
    guard let generation = listing(of: folder) else { return reply(.failure(.ioError)) }
    slice(generation, from: index, limit: limit, asksSizes ? stop : nil, reply: reply)
  }

  private func slice(
    _ generation: DirectoryListing, from index: Int, limit: Int, _ stop: StopFlag?,
    reply: @escaping Reply<FolderSlice>
  ) {
    switch generation.step(from: index, limit: limit) {
    case .entries(let found): slice(generation.folder, found, index, stop, reply)
    case .complete:
      var slice = FolderSlice()
      slice.next = index
      slice.isLast = true
      reply(.success(slice))
    case .failed(let error): reply(.failure(error.errno))
    case .wait:
      generation.wait(beyond: index) { [self] in
        slice(generation, from: index, limit: limit, stop, reply: reply)
      }
    }
  }

  private func slice(
    _ folder: ObjectKey, _ found: DirectoryListing.Slice, _ index: Int, _ stop: StopFlag?,
    _ reply: @escaping Reply<FolderSlice>
  ) {
    var slice = FolderSlice()
    slice.next = index + found.entries.count
    var files: [(name: [UInt8], seen: Observation)] = []
    var unsized: [Int] = []
    for entry in found.entries {
      let name = Array(found.chunk.name(entry))
      let seen = found.chunk.seen(entry)
      if seen.kind == .folder {
        slice.folders.append(folder + name + [NameRules.slash])
      } else if !seen.isArchived {
        if seen.size == nil { unsized.append(files.count) }
        files.append((name, seen))
      }
    }
    guard let stop, !unsized.isEmpty else {
      slice.unsized = unsized.count
      slice.add(files, of: folder)
      return reply(.success(slice))
    }
    let (listed, missing, begun) = (files, unsized, slice)
    SizeQuery(self, folder, unsized.map { files[$0].name }, stop) { [self] answers in
      var (files, slice) = (listed, begun)
      for (index, answer) in zip(missing, answers) {
        switch answer {
        case .success(let seen): files[index].seen = seen
        case .failure(let error):
          slice.failures.append((folder + files[index].name, error))
          _ = report(error, during: "size")
        }
      }
      slice.add(files, of: folder)
      reply(.success(slice))
    }.start()
  }

  /// Where a name stands in the listing of its folder, if that is known.
  public func index(of name: [UInt8], in folder: ObjectKey) -> Int? {
    let listing = state.withLock { state in
      state.folders[folder].flatMap { $0.listing ?? $0.fetching }
    }
    return listing.flatMap { listing in name.withUnsafeBytes { listing.shown($0) } }
  }

  /// The version that a path relative to the mount has; ENOENT, EISDIR.
  public func version(atPath path: [UInt8], reply: @escaping Reply<ObjectVersion>) {
    let key = prefix + path
    let (folder, name) = split(key)
    // Every component: no name of a mount is "..", and a store that is a folder would follow one.
    let names = path.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    guard names.allSatisfy({ NameRules.isReachable($0) }) else {
      return reply(.failure(.noSuchFileOrDirectory))
    }
    find(name, in: folder) { [self] result in
      switch result {
      case .failure(let error): reply(.failure(report(error, during: "lookup")))
      case .success(let finding):
        guard let seen = finding.seen else { return reply(.failure(.noSuchFileOrDirectory)) }
        guard seen.kind == .file else { return reply(.failure(.isDirectory)) }
        reply(
          .success(
            ObjectVersion(
              key: key, etag: seen.etag, size: seen.size ?? 0, modified: seen.modified)))
      }
    }
  }
}

extension FolderSlice {
  /// Those whose size is known.
  fileprivate mutating func add(_ found: [(name: [UInt8], seen: Observation)], of folder: ObjectKey)
  {
    for (name, seen) in found where seen.kind == .file {
      guard let size = seen.size else { continue }
      files.append(
        ObjectVersion(
          key: folder + name, etag: seen.etag, size: size, modified: seen.modified))
    }
  }
}

/// What is asked for from outside: to forget what is known of a part of the tree, or to look now what
/// the store has changed in it.
import ObjectStore
import Posix

extension FileSystem {
  /// Forgets what is known of a path (relative to the mount, "" for all of it) and of all below it,
  /// here and in the kernel: the next lookup returns what the store has then. Returns the number of
  /// directories whose listing was dropped.
  public func refresh(_ path: [UInt8]) -> Int {
    let now = clock()
    let place = place(ofPath: path)
    let isWhole = place.parent == nil
    let (folders, nodes) = state.withLock { state -> (Int, [(ObjectKey, [[UInt8]])]) in
      state.saved?.drop(below: place.below)
      var touched = state.folders.keys.filter { $0.hasPrefix(place.below) }
      // Nothing below (a file, or a directory that was not looked into), or nothing known under the name: the
      // directory that has it is requested again.
      if let (folder, name) = place.parent, state.folders[folder] != nil,
        touched.isEmpty || state.isAbsent(name, in: folder)
      {
        touched.append(folder)
      }
      var dropped = 0
      for folder in touched {
        if state.folders[folder]?.listing != nil { dropped += 1 }
        state.folders[folder]?.invalidBefore = now
      }
      var nodes = touched.map { ($0, state.namesWithNodes(in: $0)) }
      let distrusted = Set(touched)
      nodes += state.absent.take { $0.hasPrefix(place.below) || distrusted.contains($0) }
        .map { ($0.folder, $0.names) }
      if let (folder, name) = place.parent, state.absent.take(name, in: folder) {
        nodes.append((folder, [name]))
      }
      return (dropped, nodes)
    }
    let isTaken = notifier.submit { [self] in
      guard let handler = invalidationHandler.withLock({ $0 }) else { return }
      if isWhole, handler(.everything) { return }
      for (folder, names) in nodes { drop(names, of: folder, handler) }
    }
    if !isTaken { dropLater(nodes) }
    return folders
  }

  /// Forgets single names that were looked up in folders below `below` that are not listed.
  func forgetUnlisted(below: ObjectKey) {
    let now = clock()
    let nodes = state.withLock { state -> [(ObjectKey, [[UInt8]])] in
      let unlisted = state.folders.filter { $0.key.hasPrefix(below) && $0.value.listing == nil }
      for folder in unlisted.keys { state.folders[folder]?.invalidBefore = now }
      // Of a listed folder, the listing that comes says which are still absent.
      let absent = state.absent.take {
        $0.hasPrefix(below) && state.folders[$0]?.listing == nil
      }
      return unlisted.map { ($0.key, Array($0.value.loose.keys)) }
        + absent.map { ($0.folder, $0.names) }
    }
    let isTaken = notifier.submit { [self] in
      guard let handler = invalidationHandler.withLock({ $0 }) else { return }
      for (folder, names) in nodes { drop(names, of: folder, handler) }
    }
    if !isTaken { dropLater(nodes) }
  }

  /// Without a thread: they wait in the backlog, which the next invalidation works off.
  private func dropLater(_ nodes: [(ObjectKey, [[UInt8]])]) {
    for (folder, names) in nodes {
      for name in names { invalidate(nil, folder, name) }
    }
  }

  func drop(
    _ names: [[UInt8]], of folder: ObjectKey, _ handler: Callback<Invalidation, Bool>
  ) {
    let parent = state.withLock { $0.nodeID(ofFolder: folder, root: prefix) }
    guard let parent else { return }
    for name in names { _ = handler(.entry(parent: parent, name: name)) }
  }

  /// Where a path relative to the mount is in the store.
  func place(ofPath path: [UInt8]) -> (
    below: ObjectKey, parent: (folder: ObjectKey, name: [UInt8])?
  ) {
    let parts = path.split(separator: NameRules.slash)
    guard !parts.isEmpty else { return (prefix, nil) }
    let key = prefix + Array(parts.joined(separator: [NameRules.slash]))
    return (key + [NameRules.slash], split(key))
  }

  /// A key as a path relative to the mount, for people.
  func relativePath(_ key: ObjectKey) -> String {
    String(decoding: key.bytes.dropFirst(prefix.bytes.count), as: UTF8.self)
  }

  /// Lists anew every folder below a path (relative to the mount) that is known, and tells what has
  /// changed since. The mount shows it from then on. `reply` comes on a thread of the store's.
  public func update(_ path: [UInt8], reply: @escaping @Sendable (UpdateReport) -> Void) {
    if let frozenBy = options.frozenBy {
      var report = UpdateReport()
      report.failures = ["this mount shows \(frozenBy), which does not change"]
      return reply(report)
    }
    TreeDiff(self, below: place(ofPath: path).below, reply: reply).start()
  }
}

extension MetadataState {
  /// The folder's listing does not have the name.
  fileprivate func isAbsent(_ name: [UInt8], in folder: ObjectKey) -> Bool {
    guard let listing = folders[folder]?.listing else { return false }
    return name.withUnsafeBytes { listing.shown($0) } == nil
  }

  /// The names of a folder that the kernel knows.
  fileprivate func namesWithNodes(in folder: ObjectKey) -> [[UInt8]] {
    guard let known = folders[folder] else { return [] }
    var names = Array(known.loose.keys)
    for generation in [known.listing, known.fetching] {
      guard let generation, generation.nodes.count > 0 else { continue }
      generation.forEachChunk { _, chunk in
        for offset in 0..<chunk.count where chunk.node(at: offset) != 0 {
          names.append(Array(chunk.name(chunk[offset])))
        }
      }
    }
    return names
  }
}

/// What `update` found. Paths are relative to the mount.
public struct UpdateReport: Sendable, Codable {
  public enum Kind: String, Sendable, Codable { case added, changed, removed }

  public struct Change: Sendable, Codable, Equatable {
    public var kind: Kind
    public var path: String
    /// Bytes; of what is there now.
    public var size: UInt64?
    public init(kind: Kind, path: String, size: UInt64?) {
      self.kind = kind
      self.path = path
      self.size = size
    }
  }

  /// Kept in the report: a tree that changed all over is better listed anew.
  public static let changeLimit = 1_000_000

  /// Directories that were listed.
  public var directories = 0
  public var added = 0
  public var changed = 0
  public var removed = 0
  /// Files, in no order; at most `changeLimit`.
  public var changes: [Change] = []
  /// Folders that could not be listed, and why.
  public var failures: [String] = []
  public init() {}

  mutating func add(_ kind: Kind, _ path: String, _ size: UInt64?) {
    switch kind {
    case .added: added += 1
    case .changed: changed += 1
    case .removed: removed += 1
    }
    if changes.count < Self.changeLimit {
      changes.append(Change(kind: kind, path: path, size: size))
    }
  }
}

/// How a name is found: from a node, from a listing, by joining a listing under way, or by asking.
import ObjectStore
import Posix
import SystemPackage

extension FileSystem {
  typealias FindReply = @Sendable (Result<Finding, StoreError>) -> Void

  private enum Step {
    case done(Result<Finding, StoreError>)
    /// The folder's listing is on its way: its first page may have the answer.
    case join(Generation)
    case startListing
    case ask(number: UInt64, needsFolder: Bool)
    /// Somebody asks already.
    case wait
  }

  /// `mayWait`: a listing under way may be waited for (once; its first page bounds the wait).
  func find(
    _ name: [UInt8], in folder: ObjectKey, mayWait: Bool = true, reply: @escaping FindReply
  ) {
    let now = clock()
    let path = folder + name
    let step = state.withLock { state in
      nextStep(&state, name, folder, path, mayWait: mayWait, now: now, reply)
    }
    switch step {
    case .done(let result): reply(result)
    case .join(let generation): join(generation, name, folder, reply)
    case .startListing:
      guard let generation = listing(of: folder) else { return reply(.failure(ending())) }
      join(generation, name, folder, reply)
    case .ask(let number, let needsFolder): ask(path, number, needsFolder: needsFolder)
    case .wait: break
    }
  }

  private func join(
    _ generation: Generation, _ name: [UInt8], _ folder: ObjectKey, _ reply: @escaping FindReply
  ) {
    generation.waitForFirstPage { [self] in
      switch generation.find(name) {
      case .entry(let seen) where seen.size != nil:
        reply(.success(Finding(seen: seen, at: generation.started)))
      case .absent: reply(.success(Finding(seen: nil, at: generation.started)))
      case .entry, .undecided: find(name, in: folder, mayWait: false, reply: reply)
      }
    }
  }

  private func nextStep(
    _ state: inout NameState, _ name: [UInt8], _ folder: ObjectKey, _ path: ObjectKey,
    mayWait: Bool, now: Instant, _ reply: @escaping FindReply
  ) -> Step {
    if state.isShutDown { return .done(.failure(ending())) }
    let ttl = options.metadataTTL
    var needsFolder = true
    if ttl > .zero {
      let listing = state.freshListing(of: folder, ttl: ttl, now: now)
      if let (_, node) = state.nodes.current(path), now < node.checked + ttl,
        node.checked >= listing?.started ?? node.checked
      {
        return .done(.success(Finding(seen: node.seen, at: node.checked)))
      }
      if let listing {
        state.folders[folder]?.lastUsed = now
        switch listing.find(name) {
        case .absent: return .done(.success(Finding(seen: nil, at: listing.started)))
        case .entry(let seen) where seen.size != nil:
          return .done(.success(Finding(seen: seen, at: listing.started)))
        case .entry: needsFolder = false  // a file, of which the listing does not know enough
        case .undecided: break
        }
      }
    }
    if var probe = state.probes[path] {
      probe.waiters.append(reply)
      state.probes[path] = probe
      return .wait
    }
    if needsFolder && mayWait && ttl > .zero {
      if let fetching = state.folders[folder]?.fetching {
        switch fetching.find(name) {
        case .absent: return .done(.success(Finding(seen: nil, at: fetching.started)))
        case .entry(let seen) where seen.size != nil:
          return .done(.success(Finding(seen: seen, at: fetching.started)))
        default: if !fetching.hasPages { return .join(fetching) }
        }
      } else {
        var known = state.folders[folder] ?? FolderState()
        known.lastUsed = now
        let repeats = known.countProbe(ttl: ttl, now: now)
        state.folders[folder] = known
        if repeats { return .startListing }
      }
    }
    state.probeCount += 1
    var probe = Probe(number: state.probeCount, started: now, waiters: [reply])
    if !needsFolder { probe.folder = .success(false) }
    state.probes[path] = probe
    return .ask(number: probe.number, needsFolder: needsFolder)
  }

  /// Puts both questions at once.
  private func ask(_ path: ObjectKey, _ number: UInt64, needsFolder: Bool) {
    let deadline = Instant.now + options.ioTimeout
    store.head(path, deadline: deadline) { [self] result in
      let file: Result<ObjectAttributes?, StoreError> =
        switch result {
        case .success(let object): .success(object)
        case .failure(let error) where error.kind == .notFound: .success(nil)
        case .failure(let error): .failure(error)
        }
      advance(path, number) { $0.file = file }
    }
    guard needsFolder else { return }
    let request = ListRequest(folder: path + [UInt8(ascii: "/")], limit: 1, deadline: deadline)
    store.list(request) { [self] result in
      let folder: Result<Bool, StoreError> =
        switch result {
        case .success(let page): .success(page.showsFolder)
        case .failure(let error) where error.kind == .notFound: .success(false)
        case .failure(let error): .failure(error)
        }
      advance(path, number) { $0.folder = folder }
    }
  }

  private func advance(
    _ path: ObjectKey, _ number: UInt64, _ change: (inout Probe) -> Void
  ) {
    let (answer, waiters) = state.withLock {
      state -> (Result<Finding, StoreError>?, [FindReply]) in
      // An answer that came too late for its own question is no answer to the next.
      guard var probe = state.probes[path], probe.number == number else { return (nil, []) }
      change(&probe)
      let answer = probe.answer
      state.probes[path] = answer == nil ? probe : nil
      return (answer, probe.waiters)
    }
    guard let answer else { return }
    for waiter in waiters { waiter(answer) }
  }

  /// Turns a finding into the answer of a lookup, with a reference on the node.
  func answer(_ finding: Finding, _ path: ObjectKey) -> LookupAnswer {
    guard let seen = finding.seen else {
      let gone = state.withLock { $0.nodes.observe(path, nil, at: finding.at) }
      if let gone { invalidate(gone, path) }
      return .absent(validFor: remaining(since: finding.at))
    }
    let (id, node, replaced) = state.withLock { $0.nodes.take(path, seen, at: finding.at) }
    if let replaced { invalidate(replaced, path) }
    updateGauges()
    return .found(attributes(id, node))
  }

  /// Makes sure that a node is what its path has, asking if what is known is too old. Replies with
  /// nil for the root.
  func confirm(
    _ id: NodeID, during operation: String, reply: @escaping Reply<NodeTable.Node?>
  ) {
    if id == Self.root { return reply(.success(nil)) }
    guard let node = state.withLock({ $0.nodes[id] }), !node.isStale else {
      return reply(.failure(.staleNFSFileHandle))
    }
    let (folder, name) = split(node.path)
    find(name, in: folder) { [self] result in
      switch result {
      case .failure(let error): reply(.failure(report(error, during: operation)))
      case .success(let finding):
        let (found, replaced) = state.withLock { state in
          let replaced = state.nodes.observe(node.path, finding.seen, at: finding.at)
          return (state.nodes[id], replaced)
        }
        if let replaced { invalidate(replaced, node.path) }
        guard let found, !found.isStale else { return reply(.failure(.staleNFSFileHandle)) }
        reply(.success(found))
      }
    }
  }

  func place(of id: NodeID) -> Result<Place, Errno> {
    if id == Self.root {
      return .success(Place(path: prefix, folderKey: prefix, kind: .folder))
    }
    guard let node = state.withLock({ $0.nodes[id] }), !node.isStale else {
      return .failure(.staleNFSFileHandle)
    }
    return .success(
      Place(
        path: node.path, folderKey: node.path + [UInt8(ascii: "/")], kind: node.seen.kind))
  }

  /// The key of the folder that a path is in, and its name there.
  func split(_ path: ObjectKey) -> (folder: ObjectKey, name: [UInt8]) {
    let end = path.bytes.lastIndex(of: UInt8(ascii: "/")).map { $0 + 1 } ?? 0
    return (ObjectKey(bytes: Array(path.bytes[..<end])), Array(path.bytes[end...]))
  }

  func ending() -> StoreError {
    StoreError(.cancelled, store: store.displayName, detail: "shutting down")
  }

  func report(_ error: StoreError, during operation: String) -> Errno {
    failures.report(error, during: operation, at: .now)
    return error.errno
  }

  func remaining(since: Instant) -> Duration {
    max(.zero, min(options.metadataTTL, since + options.metadataTTL - clock()))
  }

  func attributes(_ id: NodeID, _ node: NodeTable.Node) -> NodeAttributes {
    let isFile = node.seen.kind == .file
    return NodeAttributes(
      node: id, inode: node.inode, kind: node.seen.kind, size: isFile ? node.seen.size ?? 0 : 0,
      modified: isFile ? node.seen.modified : mountTime, validFor: remaining(since: node.checked))
  }

  func rootAttributes() -> NodeAttributes {
    NodeAttributes(
      node: Self.root, inode: 1, kind: .folder, size: 0, modified: mountTime,
      validFor: options.metadataTTL)
  }
}

extension FileSystem {
  func inode(ofFolder folder: ObjectKey) -> UInt64 {
    folder == prefix ? 1 : NameRules.inode(of: folder.bytes.dropLast())
  }

  /// The root's parent is the root: what is above the mount is the kernel's affair.
  func parentFolder(of folder: ObjectKey) -> ObjectKey {
    folder == prefix ? prefix : split(ObjectKey(bytes: folder.bytes.dropLast())).folder
  }
}

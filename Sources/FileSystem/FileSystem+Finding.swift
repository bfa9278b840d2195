/// How a name is found: from a node, from a listing, by joining a listing under way, or by asking.
import Logging
import Metrics
import ObjectStore
import Posix
import Synchronization
import SystemPackage

extension FileSystem {
  typealias FindReply = @Sendable (Result<LookupResult, StoreError>) -> Void

  private enum Step {
    case done(Result<LookupResult, StoreError>)
    /// The folder's listing is on its way: its first page may have the answer.
    case join(DirectoryListing)
    case startListing
    case ask(number: UInt64, needsFolder: Bool)
    /// Another caller requests it already.
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
    _ generation: DirectoryListing, _ name: [UInt8], _ folder: ObjectKey,
    _ reply: @escaping FindReply
  ) {
    generation.waitForFirstPage { [self] in
      switch generation.finding(name) {
      case .decided(let finding): reply(.success(finding))
      case .needsHead, .undecided: find(name, in: folder, mayWait: false, reply: reply)
      }
    }
  }

  private func nextStep(
    _ state: inout MetadataState, _ name: [UInt8], _ folder: ObjectKey, _ path: ObjectKey,
    mayWait: Bool, now: Instant, _ reply: @escaping FindReply
  ) -> Step {
    if state.isShutDown { return .done(.failure(ending())) }
    loadSaved(&state, folder, now: now)
    let ttl = options.metadataTTL
    var needsFolder = true
    var mayWait = mayWait
    let known = state.folders[folder]
    if ttl > .zero {
      let listing = known?.listing.flatMap { known!.isFresh($0, ttl: ttl, now: now) ? $0 : nil }
      if let finding = state.currentFinding(folder, name, listing, ttl: ttl, now: now) {
        return .done(.success(finding))
      }
      if let listing {
        state.folders[folder]?.lastUsed = now
        if known?.isAhead == true {
          state.folders[folder]?.isAhead = false
          state.walk.opened(wasAhead: true)
        }
        switch listing.finding(name) {
        case .decided(let finding): return .done(.success(finding))
        case .needsHead: needsFolder = false
        case .undecided: break
        }
      }
    }
    var waiters = [reply]
    if var probe = state.probes[path] {
      if probe.started >= known?.invalidBefore ?? probe.started {
        probe.waiters.append(reply)
        state.probes[path] = probe
        return .wait
      }
      // It was asked before a refresh: those who wait get the answer to a question that is put now.
      waiters = probe.waiters + waiters
      mayWait = false
    }
    if needsFolder && mayWait && ttl > .zero {
      if let fetching = known?.fetching, fetching.started >= known!.invalidBefore {
        if case .decided(let finding) = fetching.finding(name) { return .done(.success(finding)) }
        if !fetching.hasPages { return .join(fetching) }
      } else if known?.fetching == nil {
        var known = known ?? DirectoryState()
        known.lastUsed = now
        let repeats = known.countProbe(ttl: ttl, now: now)
        state.folders[folder] = known
        if repeats { return .startListing }
      }
    }
    state.probeCount += 1
    var probe = PendingLookup(number: state.probeCount, started: now, waiters: waiters)
    if !needsFolder { probe.folder = .success(nil) }
    state.probes[path] = probe
    return .ask(number: probe.number, needsFolder: needsFolder)
  }

  /// Puts both questions at once.
  private func ask(_ path: ObjectKey, _ number: UInt64, needsFolder: Bool) {
    let deadline = Instant.now + options.ioTimeout
    store.head(path, deadline: deadline) { [self] result in
      let file: Result<ObjectAttributes?, StoreError> =
        switch result {
        case .success(let object): .success(shown(object))
        case .failure(let error) where error.kind == .notFound: .success(nil)
        case .failure(let error): .failure(error)
        }
      advance(path, number) { $0.file = file }
    }
    guard needsFolder else { return }
    let request = ListRequest(folder: path + [UInt8(ascii: "/")], limit: 1, deadline: deadline)
    store.list(request) { [self] result in
      let folder: Result<Observation?, StoreError> =
        switch result {
        case .success(let page):
          .success(page.showsFolder ? .folder(etag: page.folderETag) : nil)
        case .failure(let error) where error.kind == .notFound: .success(nil)
        case .failure(let error): .failure(error)
        }
      advance(path, number) { $0.folder = folder }
    }
  }

  /// Nil for an object that no mount can read: it is hidden here as it is in listings.
  private func shown(_ object: ObjectAttributes) -> ObjectAttributes? {
    guard object.isOversized else { return object }
    metrics.metadata.hiddenNames.add()
    if !saidOversized.exchange(true, ordering: .relaxed) {
      log.warning(
        """
        \(store.displayName): \(object.key): the store states more than \(ObjectSize.limit) bytes; such \
        objects are not shown (docs/semantics.md)
        """)
    }
    return nil
  }

  private func advance(
    _ path: ObjectKey, _ number: UInt64, _ change: (inout PendingLookup) -> Void
  ) {
    let (answer, waiters) = state.withLock {
      state -> (Result<LookupResult, StoreError>?, [FindReply]) in
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
  func answer(_ finding: LookupResult, _ folder: ObjectKey, _ name: [UInt8]) -> LookupAnswer {
    let (answer, replaced) = state.withLock { state -> (LookupAnswer, NodeID?) in
      // What was asked before a refresh is an answer to those who asked then, and nothing to remember.
      let isVoid = finding.at < state.folders[folder]?.invalidBefore ?? finding.at
      guard let (slot, replaced) = state.take(folder, name, finding) else {
        let replaced = state.observeAbsence(folder, name, at: finding.at)
        let time = isVoid ? .zero : remaining(since: finding.at)
        let isKept = mayRemember(name, of: folder, absentFor: time, &state)
        return (.absent(validFor: isKept ? time : .zero), replaced)
      }
      var found = attributes(slot, &state)
      if isVoid { found.validFor = .zero }
      return (.found(found), replaced)
    }
    if let replaced { invalidate(replaced, folder, name) }
    return answer
  }

  /// Whether the kernel may remember an absence; it is written down before. Fixed names never appear.
  private func mayRemember(
    _ name: [UInt8], of folder: ObjectKey, absentFor time: Duration, _ state: inout MetadataState
  ) -> Bool {
    guard time > .zero, options.frozenBy == nil else { return true }
    let now = clock()
    return state.absent.add(name, in: folder, until: now + time, now: now)
  }

  /// Makes sure that a node is what its path has, asking if what is known is too old. Replies with
  /// nil for the root.
  func confirm(_ id: NodeID, during operation: String, reply: @escaping Reply<Node?>) {
    if id == Self.root { return reply(.success(nil)) }
    guard let node = state.withLock({ $0.node(id) }), !node.isStale else {
      return reply(.failure(.staleNFSFileHandle))
    }
    find(node.name, in: node.folder) { [self] result in
      switch result {
      case .failure(let error): reply(.failure(report(error, during: operation)))
      case .success(let finding):
        let (found, replaced) = state.withLock { state in
          let replaced = state.observe(node.folder, node.name, finding)
          return (state.node(id), replaced)
        }
        if let replaced { invalidate(replaced, node.folder, node.name) }
        guard let found, !found.isStale else { return reply(.failure(.staleNFSFileHandle)) }
        reply(.success(found))
      }
    }
  }

  func place(of id: NodeID) -> Result<Place, Errno> {
    if id == Self.root {
      return .success(Place(folderKey: prefix, kind: .folder))
    }
    guard let node = state.withLock({ $0.node(id) }), !node.isStale else {
      return .failure(.staleNFSFileHandle)
    }
    return .success(Place(folderKey: node.path + [NameRules.slash], kind: node.seen.kind))
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

  /// The attributes of a node that the kernel gets; under the lock.
  func attributes(_ slot: InodeTable.Slot, _ state: inout MetadataState) -> NodeAttributes {
    let id = state.nodes.id(of: slot)
    switch state.nodes.home(of: slot) {
    case .loose(let loose):
      return attributes(
        id, inode: NameRules.inode(of: loose.folder.bytes + loose.name), loose.seen.kind,
        size: loose.seen.size, modified: loose.seen.modified, checked: loose.checked,
        rights: rights(loose.seen.etag))
    case .listed(let generation, let index):
      let place = generation[index]
      return attributes(
        id, inode: generation.pathHash.inode(of: place.name),
        place.isFolder ? .folder : .file, size: place.entry.size,
        modified: place.chunk.modified(place.entry), checked: state.nodes.checked(slot),
        rights: options.rootRights == nil ? nil : rights(place.seen.etag))
    }
  }

  private func rights(_ etag: String) -> AccessRights? {
    options.rootRights == nil ? nil : AccessRights(etag: etag)
  }

  private func attributes(
    _ id: NodeID, inode: UInt64, _ kind: NodeAttributes.Kind, size: UInt64?, modified: Int64,
    checked: Instant, rights: AccessRights?
  ) -> NodeAttributes {
    NodeAttributes(
      node: id, inode: inode, kind: kind, size: kind == .file ? size ?? 0 : 0,
      modified: kind == .file ? modified : mountTime, validFor: remaining(since: checked),
      rights: rights)
  }

  func rootAttributes() -> NodeAttributes {
    NodeAttributes(
      node: Self.root, inode: 1, kind: .folder, size: 0, modified: mountTime,
      validFor: options.metadataTTL, rights: options.rootRights?())
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

extension DirectoryListing {
  enum Outcome {
    case decided(LookupResult)
    /// A file, of which the listing does not know enough.
    case needsHead
    case undecided
  }

  func finding(_ name: [UInt8]) -> Outcome {
    switch find(name) {
    case .absent: .decided(LookupResult(what: .absent, at: started))
    case .entry(let index) where self[index].entry.flags.contains(.needsHead): .needsHead
    case .entry(let index): .decided(LookupResult(what: .listed(self, index), at: started))
    case .undecided: .undecided
    }
  }
}

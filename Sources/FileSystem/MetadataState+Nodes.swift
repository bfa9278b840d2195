/// How nodes follow what the store shows: which one a finding leads to, and which become stale.
import ObjectStore
import Posix

extension MetadataState {
  /// A node that the kernel knows under a name that is no longer its own.
  struct Replaced {
    var node: NodeID
    var name: [UInt8]
  }

  /// The node of what was found under a name, with one reference more. What is older than a node's own
  /// knowledge changes nothing.
  mutating func take(
    _ folder: ObjectKey, _ name: [UInt8], _ finding: LookupResult
  ) -> (slot: InodeTable.Slot, replaced: NodeID?)? {
    switch finding.what {
    case .absent: nil
    case .listed(let generation, let index): takeListed(generation, index)
    case .asked(let seen): takeAsked(folder, name, seen, at: finding.at)
    }
  }

  mutating func takeListed(
    _ generation: DirectoryListing, _ index: Int
  ) -> (slot: InodeTable.Slot, replaced: NodeID?) {
    let place = generation[index]
    let taken = place.chunk.node(at: place.offset)
    if taken != 0 {
      nodes.refer(to: taken)
      return (taken, nil)
    }
    let known = folders[generation.folder]
    let isHome = known?.listing === generation || known?.fetching === generation
    var replaced: NodeID?
    if mayHaveOther(known, than: generation) {
      let name = Array(place.name)
      if let slot = current(generation.folder, name) {
        let isSame = seen(slot).isSameVersion(as: place.seen)
        if isSame || nodes.checked(slot) > generation.started {
          if isSame && isHome {
            folders[generation.folder]?.loose[name] = nil
            nodes.move(slot, to: generation, index, place)
          }
          nodes.refer(to: slot)
          return (slot, nil)
        }
        replaced = expire(slot, generation.folder, name)
      }
    }
    if isHome { return (nodes.add(generation, index, place), replaced) }
    let name = Array(place.name)
    return (
      addLoose(generation.folder, name, place.seen, at: generation.started), replaced
    )
  }

  private func mayHaveOther(_ known: DirectoryState?, than generation: DirectoryListing) -> Bool {
    guard let known else { return false }
    if !known.loose.isEmpty { return true }
    return [known.listing, known.fetching].contains { (other: DirectoryListing?) in
      other !== generation && other?.nodes.count ?? 0 > 0
    }
  }

  private mutating func takeAsked(
    _ folder: ObjectKey, _ name: [UInt8], _ seen: Observation, at time: Instant
  ) -> (slot: InodeTable.Slot, replaced: NodeID?) {
    var replaced: NodeID?
    if let slot = current(folder, name) {
      let isSame = self.seen(slot).isSameVersion(as: seen)
      if isSame { nodes.confirm(slot, at: time) }
      if isSame || time < nodes.checked(slot) {
        nodes.refer(to: slot)
        return (slot, nil)
      }
      replaced = expire(slot, folder, name)
    } else if let listing = folders[folder]?.listing,
      let index = name.withUnsafeBytes({ listing.shown($0) }),
      listing[index].seen.isSameVersion(as: seen)
    {
      let slot = nodes.add(listing, index, listing[index])
      nodes.confirm(slot, at: time)
      return (slot, nil)
    }
    return (addLoose(folder, name, seen, at: time), replaced)
  }

  private mutating func addLoose(
    _ folder: ObjectKey, _ name: [UInt8], _ seen: Observation, at time: Instant
  ) -> InodeTable.Slot {
    let slot = nodes.add(
      InodeTable.Loose(folder: folder, name: name, seen: seen, checked: time))
    folders[folder, default: DirectoryState()].loose[name] = slot
    return slot
  }

  /// What is known by the path's own node, if that is fresh and no listing is newer.
  func currentFinding(
    _ folder: ObjectKey, _ name: [UInt8], _ listing: DirectoryListing?, ttl: Duration, now: Instant
  ) -> LookupResult? {
    guard let known = folders[folder] else { return nil }
    // What a fresh listing has is found there as quickly.
    if known.loose.isEmpty, listing != nil { return nil }
    guard let slot = current(folder, name) else { return nil }
    let checked = nodes.checked(slot)
    guard now < checked + ttl, checked >= known.invalidBefore,
      checked >= listing?.started ?? checked
    else { return nil }
    switch nodes.home(of: slot) {
    case .loose(let loose): return LookupResult(what: .asked(loose.seen), at: checked)
    case .listed(let generation, let index):
      return LookupResult(what: .listed(generation, index), at: checked)
    }
  }

  /// Takes in what was found, for a node that is referred to already. Returns the node that became
  /// stale by it.
  mutating func observe(
    _ folder: ObjectKey, _ name: [UInt8], _ finding: LookupResult
  ) -> NodeID? {
    guard let seen = finding.seen else { return observeAbsence(folder, name, at: finding.at) }
    guard let slot = current(folder, name), finding.at >= nodes.checked(slot) else { return nil }
    if self.seen(slot).isSameVersion(as: seen) {
      nodes.confirm(slot, at: finding.at)
      return nil
    }
    return expire(slot, folder, name)
  }

  /// The store has nothing of this name. Returns the node that became stale by it.
  mutating func observeAbsence(
    _ folder: ObjectKey, _ name: [UInt8], at time: Instant
  ) -> NodeID? {
    guard let slot = current(folder, name), time >= nodes.checked(slot) else { return nil }
    return expire(slot, folder, name)
  }

  mutating func expire(_ slot: InodeTable.Slot, _ folder: ObjectKey, _ name: [UInt8]) -> NodeID {
    folders[folder]?.loose[name] = nil
    nodes.expire(slot)
    return nodes.id(of: slot)
  }

  /// Gives references back. Returns a listing that waited for that to be dropped.
  mutating func forget(_ id: NodeID, count: UInt64) -> DirectoryListing? {
    switch nodes.forget(id, count: count) {
    case .loose(let loose)?:
      if !loose.isStale {
        folders[loose.folder]?.loose[loose.name] = nil
        if let known = folders[loose.folder], known.isNothing { folders[loose.folder] = nil }
      }
      return nil
    case .listed(let generation, _)?:
      guard generation.nodes.count == 0, let known = folders[generation.folder],
        known.releasing != nil, known.listing === generation, !generation.isPinned
      else { return nil }
      dropListing(of: generation.folder)
      return generation
    case nil: return nil
    }
  }

  /// The generation is complete: it becomes its folder's listing, and nodes go over to it. Returns
  /// those that it shows to be stale; nil if it is no longer wanted.
  mutating func adopt(_ generation: DirectoryListing) -> [Replaced]? {
    let key = generation.folder
    guard folders[key]?.fetching === generation else { return nil }
    folders[key]?.fetching = nil
    folders[key]?.run = nil
    folders[key]?.releasing = nil
    var replaced: [Replaced] = []
    if let old = folders[key]?.listing {
      if generation.hasSameEntries(as: old) {
        // The old one stays, and with it its nodes and the kernel's copy of the names.
        old.renew(from: generation)
        moveNodes(from: generation, to: old, &replaced)
      } else {
        folders[key]?.listing = generation
        moveNodes(from: old, to: generation, &replaced)
      }
    } else {
      folders[key]?.listing = generation
    }
    settleLoose(of: key, &replaced)
    return replaced
  }

  /// Names of a folder that its listing has and the kernel remembers as absent: taken out, to be dropped there.
  mutating func takeAppeared(in folder: ObjectKey) -> [[UInt8]] {
    guard let listing = folders[folder]?.listing else { return [] }
    return absent.take(in: folder) { name in name.withUnsafeBytes { listing.shown($0) } != nil }
  }

  /// The generation failed: nodes that were taken from it stay as they were seen.
  mutating func abandon(_ generation: DirectoryListing) {
    if folders[generation.folder]?.fetching === generation {
      folders[generation.folder]?.fetching = nil
      folders[generation.folder]?.run = nil
      if folders[generation.folder]?.isAhead == true {
        folders[generation.folder]?.isAhead = false
        walk.wasted()
      }
    }
    guard generation.nodes.count > 0 else { return }
    let listing = folders[generation.folder]?.listing
    forEachNode(of: generation) { state, slot, place in
      let name = Array(place.name)
      if let listing, let index = listing.shown(place.name), !listing.hasNode(at: index),
        listing[index].seen.isSameVersion(as: place.seen)
      {
        return state.nodes.move(slot, to: listing, index, listing[index])
      }
      state.nodes.loosen(slot)
      state.folders[generation.folder, default: DirectoryState()].loose[name] = slot
    }
  }

  private mutating func moveNodes(
    from old: DirectoryListing, to new: DirectoryListing, _ replaced: inout [Replaced]
  ) {
    guard old.nodes.count > 0 else { return }
    // Mostly the same names in the same order: the one behind the last is tried first.
    var next = 0
    var stale: [Replaced] = []
    forEachNode(of: old) { state, slot, place in
      var found: Int? = nil
      if next < new.count, new[next].name.elementsEqual(place.name) {
        found = next
      } else {
        found = new.shown(place.name)
      }
      if let found {
        next = found + 1
        let target = new[found]
        if target.chunk.node(at: target.offset) == 0,
          target.chunk.isSameVersion(target.entry, as: place.chunk, place.entry)
        {
          return state.nodes.move(slot, to: new, found, target)
        }
      }
      let name = Array(place.name)
      if state.nodes.checked(slot) > new.started {
        // Observation again since the listing began: what is older does not contradict it.
        state.nodes.loosen(slot)
        state.folders[new.folder]?.loose[name] = slot
        return
      }
      stale.append(Replaced(node: state.nodes.id(of: slot), name: name))
      state.nodes.expire(slot)
    }
    replaced += stale
  }

  private mutating func settleLoose(of key: ObjectKey, _ replaced: inout [Replaced]) {
    guard let known = folders[key], let listing = known.listing else { return }
    for (name, slot) in known.loose {
      let index = name.withUnsafeBytes { listing.shown($0) }
      if let index, !listing.hasNode(at: index),
        listing[index].seen.isSameVersion(as: seen(slot))
      {
        folders[key]?.loose[name] = nil
        nodes.move(slot, to: listing, index, listing[index])
        continue
      }
      if nodes.checked(slot) > listing.started { continue }
      // A listing that does not know the version (no size) says that there is still something.
      if let index, listing[index].seen.size == nil, seen(slot).kind == .file { continue }
      replaced.append(Replaced(node: expire(slot, key, name), name: name))
    }
  }

  private mutating func forEachNode(
    of generation: DirectoryListing,
    _ body: (inout MetadataState, InodeTable.Slot, DirentTable.Place) -> Void
  ) {
    generation.forEachChunk { _, chunk in
      for offset in 0..<chunk.count {
        let slot = chunk.node(at: offset)
        if slot != 0 { body(&self, slot, DirentTable.Place(chunk, offset)) }
      }
    }
  }
}

extension DirectoryListing {
  /// Under the file system's lock.
  func hasNode(at index: Int) -> Bool {
    let place = self[index]
    return place.chunk.node(at: place.offset) != 0
  }
}

extension DirectoryState {
  /// Whether it may as well not be there.
  var isNothing: Bool {
    listing == nil && fetching == nil && loose.isEmpty && invalidBefore.nanoseconds == 0
      && probes == 0
  }
}

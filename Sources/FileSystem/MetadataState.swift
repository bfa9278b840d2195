import ObjectStore
import Posix
import SystemPackage

/// All that the lock of the file system protects.
struct MetadataState {
  var nodes = InodeTable()
  /// By folder key, which ends in "/" (the root's may be empty).
  var folders: [ObjectKey: DirectoryState] = [:]
  /// By the path that is looked for.
  var probes: [ObjectKey: PendingLookup] = [:]
  var probeCount: UInt64 = 0
  var walk = TraversalCredit()
  /// Absences that the kernel remembers.
  var absent = AbsentNames()
  /// Whether the store begins a listing at the requested position, once that was seen.
  var begins: Bool?
  /// What earlier mounts listed, until it is asked for.
  var saved: ListingCacheFile?
  var savedAt = Instant(nanoseconds: 0)
  /// On the real clock: until then there is nothing more to drop.
  var trimsFrom = Instant(nanoseconds: 0)
  /// Objects of a fixed tree that the store no longer has as they were.
  var changed: Set<ObjectKey> = []
  var isShutDown = false

  var listedDirectories: Int { folders.values.count { $0.listing != nil } }

  /// What names occupy, entries of listings aside.
  var bytes: Int { nodes.bytes + absent.bytes + folders.count * DirectoryState.cost }

  /// The newest listing of a folder, if it is still as fresh as promised.
  func freshListing(of folder: ObjectKey, ttl: Duration, now: Instant) -> DirectoryListing? {
    guard let known = folders[folder], let listing = known.listing else { return nil }
    return known.isFresh(listing, ttl: ttl, now: now) ? listing : nil
  }

  /// The node of the version that a path was last seen to have.
  func current(_ folder: ObjectKey, _ name: [UInt8]) -> InodeTable.Slot? {
    guard let known = folders[folder] else { return nil }
    if !known.loose.isEmpty, let slot = known.loose[name] { return slot }
    for generation in [known.listing, known.fetching] {
      guard let generation, generation.nodes.count > 0,
        let index = name.withUnsafeBytes({ generation.shown($0) })
      else { continue }
      let place = generation[index]
      let node = place.chunk.node(at: place.offset)
      if node != 0 { return node }
    }
    return nil
  }

  /// The kernel's number of a folder; nil if it has none.
  func nodeID(ofFolder folder: ObjectKey, root: ObjectKey) -> NodeID? {
    if folder == root { return FileSystem.root }
    let end = folder.bytes.dropLast().lastIndex(of: NameRules.slash).map { $0 + 1 } ?? 0
    let slot = current(
      ObjectKey(bytes: Array(folder.bytes[..<end])), Array(folder.bytes[end...].dropLast()))
    return slot.map { nodes.id(of: $0) }
  }

  /// What was seen of a node, and where it is.
  func node(_ id: NodeID) -> Node? {
    guard let slot = nodes.slot(of: id) else { return nil }
    switch nodes.home(of: slot) {
    case .loose(let loose):
      return Node(
        folder: loose.folder, name: loose.name, seen: loose.seen, checked: loose.checked,
        isStale: loose.isStale)
    case .listed(let generation, let index):
      let place = generation[index]
      return Node(
        folder: generation.folder, name: Array(place.name), seen: place.seen,
        checked: nodes.checked(slot), isStale: false)
    }
  }

  /// The version that a node is of.
  func seen(_ slot: InodeTable.Slot) -> Observation {
    switch nodes.home(of: slot) {
    case .loose(let loose): loose.seen
    case .listed(let generation, let index): generation[index].seen
    }
  }

  /// Drops listings, the longest unused first, until `excess` bytes are gone. What is being fetched
  /// stays, and what an open folder pins would not be freed by it. Of a listing that the kernel
  /// still refers to, the names are returned for it to let go; it is dropped when it has.
  mutating func drop(excess: Int, now: Instant) -> (
    dropped: [DirectoryListing], releasing: [DirectoryListing]
  ) {
    var left = excess
    var dropped: [DirectoryListing] = []
    var releasing: [DirectoryListing] = []
    for (key, folder) in folders.sorted(by: { $0.value.lastUsed < $1.value.lastUsed }) {
      if left <= 0 { break }
      guard folder.fetching == nil else { continue }
      if let listing = folder.listing {
        if listing.isPinned { continue }
        left -= listing.bytes
        if listing.nodes.count > 0 {
          if let asked = folder.releasing, now < asked + Self.releaseInterval { continue }
          folders[key]?.releasing = now
          releasing.append(listing)
          continue
        }
        dropped.append(listing)
      }
      left -= DirectoryState.cost
      if folder.isAhead { walk.wasted() }
      dropListing(of: key)
    }
    return (dropped, releasing)
  }

  /// Before the kernel is asked again: it may be busy with other names, or have them open.
  private static let releaseInterval = Duration.seconds(10)

  /// Forgets what is known of a folder, except its loose nodes.
  mutating func dropListing(of key: ObjectKey) {
    guard let folder = folders[key] else { return }
    if folder.loose.isEmpty && folder.fetching == nil {
      folders[key] = nil
    } else {
      folders[key]?.listing = nil
      folders[key]?.releasing = nil
      folders[key]?.isAhead = false
    }
  }
}

/// A node as it is known.
struct Node {
  let folder: ObjectKey
  let name: [UInt8]
  let seen: Observation
  /// When the store last showed this version.
  let checked: Instant
  /// The path has another version by now, or none.
  let isStale: Bool
  var path: ObjectKey { folder + name }
}

/// What is known of one folder.
struct DirectoryState {
  /// The newest complete listing.
  var listing: DirectoryListing?
  var fetching: DirectoryListing?
  /// What fetches it.
  var run: ListingFetcher?
  /// Nodes of its names that are not in the listing as they are.
  var loose: [[UInt8]: InodeTable.Slot] = [:]
  /// Listings that started before are no longer believed: an object was seen to differ.
  var invalidBefore = Instant(nanoseconds: 0)
  var lastUsed = Instant(nanoseconds: 0)
  /// Lookups that had to ask the store one by one since `probesSince`.
  var probes = 0
  var probesSince = Instant(nanoseconds: 0)
  /// When the kernel was asked to let go of its names, so that the listing can be dropped.
  var releasing: Instant?
  /// It was listed before any caller requested it, and none has yet.
  var isAhead = false

  /// A dictionary's slot, the key and the listing's own objects.
  static let cost = MemoryLayout<(ObjectKey, DirectoryState)>.stride * 4 / 3 + 96 + 400

  func isFresh(_ listing: DirectoryListing, ttl: Duration, now: Instant) -> Bool {
    now < listing.started + ttl && listing.started >= invalidBefore
  }

  /// Counts a lookup that has no listing to answer it; true when they repeat so that a listing is
  /// the cheaper way.
  mutating func countProbe(ttl: Duration, now: Instant) -> Bool {
    if now >= probesSince + ttl {
      probes = 0
      probesSince = now
    }
    probes += 1
    return probes >= Self.probesBeforeListing
  }

  /// Two lookups are often all that happens (a path is walked); a third means work in the folder.
  static let probesBeforeListing = 3
}

/// What a lookup found, and when the question was put.
struct LookupResult {
  enum What {
    case absent
    case listed(DirectoryListing, Int)
    case asked(Observation)
  }

  var what: What
  var at: Instant

  var seen: Observation? {
    switch what {
    case .absent: nil
    case .listed(let generation, let index): generation[index].seen
    case .asked(let seen): seen
    }
  }
}

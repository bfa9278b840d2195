import ObjectStore
import Posix
import SystemPackage

/// All that the lock of the file system protects.
struct NameState {
  var nodes = NodeTable()
  /// By folder key, which ends in "/" (the root's may be empty).
  var folders: [ObjectKey: FolderState] = [:]
  /// By the path that is looked for.
  var probes: [ObjectKey: Probe] = [:]
  var probeCount: UInt64 = 0
  var isShutDown = false

  var listedFolders: Int { folders.values.count { $0.listing != nil } }

  /// The newest listing of a folder, if it is still as fresh as promised.
  func freshListing(of folder: ObjectKey, ttl: Duration, now: Instant) -> Generation? {
    guard let known = folders[folder], let listing = known.listing else { return nil }
    return known.isFresh(listing, ttl: ttl, now: now) ? listing : nil
  }

  /// Drops listings, the longest unused first, until `excess` bytes are gone. What is being fetched
  /// stays, and what an open folder pins would not be freed by it.
  mutating func drop(excess: Int) -> [Generation] {
    var left = excess
    var dropped: [Generation] = []
    for (key, folder) in folders.sorted(by: { $0.value.lastUsed < $1.value.lastUsed }) {
      if left <= 0 { break }
      guard folder.fetching == nil else { continue }
      if let listing = folder.listing {
        if listing.isPinned { continue }
        left -= listing.bytes
        dropped.append(listing)
      }
      folders[key] = nil
    }
    return dropped
  }
}

/// What is known of one folder.
struct FolderState {
  /// The newest complete listing.
  var listing: Generation?
  var fetching: Generation?
  /// Listings that started before are no longer believed: an object was seen to differ.
  var distrustedBefore = Instant(nanoseconds: 0)
  var lastUsed = Instant(nanoseconds: 0)
  /// Lookups that had to ask the store one by one since `probesSince`.
  var probes = 0
  var probesSince = Instant(nanoseconds: 0)

  func isFresh(_ listing: Generation, ttl: Duration, now: Instant) -> Bool {
    now < listing.started + ttl && listing.started >= distrustedBefore
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
struct Finding {
  /// Nil: there is nothing of that name.
  var seen: Seen?
  var at: Instant
}

/// The two questions of a lookup, under way, and those who wait for the answer.
struct Probe {
  typealias Waiter = @Sendable (Result<Finding, StoreError>) -> Void
  let number: UInt64
  let started: Instant
  var waiters: [Waiter] = []
  var file: Result<ObjectAttributes?, StoreError>?
  var folder: Result<Bool, StoreError>?

  /// A folder is the answer as soon as it is there, since it hides a file; a file only once there is
  /// no folder. A store that forbids one of the questions is believed in the other if that finds
  /// something.
  var answer: Result<Finding, StoreError>? {
    if case .success(true) = folder { return .success(Finding(seen: .folder, at: started)) }
    guard let file, let folder else { return nil }
    switch (file, folder) {
    case (.success(let object?), .success): return found(object)
    case (.success(let object?), .failure(let error)) where error.kind == .accessDenied:
      return found(object)
    case (_, .failure(let error)), (.failure(let error), _): return .failure(error)
    case (.success(nil), .success): return .success(Finding(seen: nil, at: started))
    }
  }

  private func found(_ object: ObjectAttributes) -> Result<Finding, StoreError> {
    guard object.size != nil else {
      return .failure(
        StoreError(
          .badReply, store: "", key: object.key, detail: "the store does not tell the object's size"
        ))
    }
    let seen = Seen(
      kind: .file, size: object.size, modified: object.modified ?? 0, etag: object.etag,
      isArchived: object.isArchived)
    return .success(Finding(seen: seen, at: started))
  }
}

/// Where a node is in the store.
struct Place {
  var path: ObjectKey
  var folderKey: ObjectKey
  var kind: NodeAttributes.Kind
}

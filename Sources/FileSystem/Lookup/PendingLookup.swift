import ObjectStore
import Posix

/// The two questions of a lookup, under way, and those who wait for the answer.
struct PendingLookup {
  typealias Waiter = @Sendable (Result<LookupResult, StoreError>) -> Void
  let number: UInt64
  let started: Instant
  var waiters: [Waiter] = []
  var file: Result<ObjectAttributes?, StoreError>?
  /// nil inside: there is no folder.
  var folder: Result<Observation?, StoreError>?

  /// A folder is the answer as soon as it is there, since it hides a file; a file only once there is
  /// no folder. A store that forbids one of the questions is believed in the other if that finds
  /// something.
  var answer: Result<LookupResult, StoreError>? {
    if case .success(let seen?) = folder {
      return .success(LookupResult(what: .asked(seen), at: started))
    }
    guard let file, let folder else { return nil }
    switch (file, folder) {
    case (.success(let object?), .success): return found(object)
    case (.success(let object?), .failure(let error)) where error.kind == .accessDenied:
      return found(object)
    case (_, .failure(let error)), (.failure(let error), _): return .failure(error)
    case (.success(nil), .success): return .success(LookupResult(what: .absent, at: started))
    }
  }

  private func found(_ object: ObjectAttributes) -> Result<LookupResult, StoreError> {
    guard object.size != nil else {
      return .failure(
        StoreError(
          .badReply, store: "", key: object.key,
          detail: "the store does not report the object's size"
        ))
    }
    let seen = Observation(
      kind: .file, size: object.size, modified: object.modified ?? 0, etag: object.etag,
      isArchived: object.isArchived)
    return .success(LookupResult(what: .asked(seen), at: started))
  }
}

/// Where a node is in the store.
struct Place {
  /// Its own key, with "/" at the end.
  var folderKey: ObjectKey
  var kind: NodeAttributes.Kind
}

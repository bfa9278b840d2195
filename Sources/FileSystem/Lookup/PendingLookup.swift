import ObjectStore
import Posix

/// The two requests of a lookup (is there an object, is there a directory of that name), and those who wait for the
/// answer.
struct PendingLookup {
  typealias Waiter = @Sendable (Result<LookupResult, StoreError>) -> Void
  let number: UInt64
  let started: Instant
  var waiters: [Waiter] = []
  var file: Result<ObjectAttributes?, StoreError>?
  /// nil inside: there is no directory.
  var directory: Result<Observation?, StoreError>?

  /// A directory is the answer as soon as it is there, since it hides a file; a file only once there is
  /// no directory. A store that forbids one of the requests is believed in the other if that finds
  /// something.
  var answer: Result<LookupResult, StoreError>? {
    if case .success(let seen?) = directory {
      return .success(LookupResult(what: .asked(seen), at: started))
    }
    guard let file, let directory else { return nil }
    switch (file, directory) {
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

/// The lookups whose requests are in flight, by path: callers that look for the same path share them.
struct PendingLookups {
  typealias Waiter = PendingLookup.Waiter
  private var lookups: [ObjectKey: PendingLookup] = [:]
  private var count: UInt64 = 0

  enum Joining {
    /// The waiter is called with the answer of the lookup in flight.
    case joined
    /// There is none.
    case none
    /// There is one whose answer is no longer valid: its waiters are to get that of a new one.
    case outdated(waiters: [Waiter])
  }

  /// Waits for a lookup in flight, if it was started after what was known became invalid.
  mutating func join(
    _ path: ObjectKey, validSince start: Instant?, _ waiter: @escaping Waiter
  ) -> Joining {
    guard let pending = lookups[path] else { return .none }
    if pending.started < start ?? pending.started { return .outdated(waiters: pending.waiters) }
    lookups[path]!.waiters.append(waiter)
    return .joined
  }

  /// Begins a lookup, in place of an outdated one. Returns its number.
  mutating func begin(
    _ path: ObjectKey, needsDirectory: Bool, _ waiters: [Waiter], now: Instant
  ) -> UInt64 {
    count += 1
    var pending = PendingLookup(number: count, started: now, waiters: waiters)
    if !needsDirectory { pending.directory = .success(nil) }
    lookups[path] = pending
    return count
  }

  /// A response arrived. Returns the answer and those who wait for it, once it is known. A response that came too late
  /// for its own lookup is none to the next.
  mutating func advance(
    _ path: ObjectKey, number: UInt64, _ change: (inout PendingLookup) -> Void
  ) -> (answer: Result<LookupResult, StoreError>, waiters: [Waiter])? {
    guard var pending = lookups[path], pending.number == number else { return nil }
    change(&pending)
    guard let answer = pending.answer else {
      lookups[path] = pending
      return nil
    }
    lookups[path] = nil
    return (answer, pending.waiters)
  }

  /// Ends all of them. Returns those who wait.
  mutating func removeAll() -> [Waiter] {
    defer { lookups = [:] }
    return lookups.values.flatMap(\.waiters)
  }
}

import Logging
import ObjectStore
import Posix

/// Asks the store before anything is mounted: one listing of one entry, and one byte of one file, since permission to
/// list and permission to read are two.
enum StoreProbe {
  /// What a user at a terminal waits for an endpoint that does not respond, for all requests together: 15 s with
  /// what comes before and after.
  static let patience = Duration.seconds(12)

  /// Of it, what the read may take at a mount: it is only a check.
  private static let readPatience = Duration.seconds(5)

  /// What a mount checks before it says that it is ready. A store that refuses every read is an error; trouble that
  /// may pass is a line in the log.
  static func check(_ mounted: StoreFactory.Mounted, _ log: Logger) throws(StoreError) {
    let deadline = Instant.now + patience
    let page = try listing(mounted, until: deadline)
    // Of a snapshot or manifest the names come from a file: some may be gone, and nothing is requested for them.
    guard mounted.frozenBy == nil else { return }
    switch ReadProbe.run(
      mounted, from: page, until: min(deadline, .now + readPatience), asksForSizes: false)
    {
    // A directory of this machine may have files that its owner alone reads.
    case .denied(let error) where mounted.origin != nil: throw error
    case .denied(let error), .failed(let error):
      log.warning("the check could not read a file", metadata: ["reason": "\(error)"])
    case .read, .noFile: break
    }
  }

  static func listing(
    _ mounted: StoreFactory.Mounted, until deadline: Instant = .now + patience
  ) throws(StoreError) -> ListPage {
    let page = try list(mounted, mounted.prefix, limit: 1, until: deadline)
    if mounted.prefix.bytes.isEmpty || !page.objects.isEmpty || !page.folders.isEmpty
      || page.next != nil || page.folderExists
    {
      return page
    }
    // Nothing lies below it: is it an object?
    let key = ObjectKey(bytes: mounted.prefix.bytes.dropLast())
    do throws(StoreError) {
      _ = try wait(for: mounted, until: deadline) { done in
        mounted.store.head(key, deadline: deadline, completion: done)
      }
    } catch {
      // Without permission to list, S3 denies what is not there.
      guard error.kind == .notFound || error.kind == .accessDenied else { throw error }
      throw StoreError(
        .notFound, store: mounted.name, detail: "no object has this prefix",
        advice: "check its spelling, or mount the bucket itself")
    }
    throw StoreError(
      .invalidSource, store: mounted.name, detail: "this is an object, not a directory",
      advice: "mount the directory that contains it")
  }

  static func list(
    _ mounted: StoreFactory.Mounted, _ folder: ObjectKey, limit: Int, until deadline: Instant
  ) throws(StoreError) -> ListPage {
    try wait(for: mounted, until: deadline) { done in
      mounted.store.list(
        ListRequest(folder: folder, limit: limit, deadline: deadline, failsFast: true),
        completion: done)
    }
  }

  static func wait<Value: Sendable>(
    for mounted: StoreFactory.Mounted, until deadline: Instant = .now + patience,
    _ start: (@escaping @Sendable (Result<Value, StoreError>) -> Void) -> Void
  ) throws(StoreError) -> Value {
    let answer = Monitor<Result<Value, StoreError>?>(nil)
    start { result in answer.signal { $0 = result } }
    // A moment more than the store's own deadline, in case that fails.
    guard let result = answer.wait(until: deadline + .milliseconds(500), for: { $0 }) else {
      throw StoreError(
        .timedOut, store: mounted.name, detail: "no response within \(patience.seconds) seconds")
    }
    return try result.get()
  }
}

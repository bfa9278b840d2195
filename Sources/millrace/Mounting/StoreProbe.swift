import ObjectStore
import Posix

/// Asks the store once, before anything is mounted: one listing of one entry.
enum StoreProbe {
  /// What somebody at a terminal waits for an endpoint that does not answer, for all questions
  /// together: 15 s with what comes before and after.
  static let patience = Duration.seconds(13)

  static func listing(_ mounted: StoreFactory.Mounted) throws(StoreError) -> ListPage {
    let deadline = Instant.now + patience
    let page = try wait(for: mounted, until: deadline) { done in
      mounted.store.list(
        ListRequest(folder: mounted.prefix, limit: 1, deadline: deadline, failsFast: true),
        completion: done)
    }
    if mounted.prefix.bytes.isEmpty || !page.objects.isEmpty || !page.folders.isEmpty
      || page.next != nil || page.folderExists
    {
      return page
    }
    // Nothing lies below it: is it an object?
    let key = ObjectKey(bytes: mounted.prefix.bytes.dropLast())
    do {
      _ = try wait(for: mounted, until: deadline) { done in
        mounted.store.head(key, deadline: deadline, completion: done)
      }
    } catch {
      throw StoreError(
        .notFound, store: mounted.name, detail: "no object has this prefix",
        advice: "check its spelling, or mount the bucket itself")
    }
    throw StoreError(
      .invalidSource, store: mounted.name, detail: "this is an object and not a folder",
      advice: "mount the folder that it is in")
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
        .timedOut, store: mounted.name, detail: "no answer within \(patience.seconds) seconds")
    }
    return try result.get()
  }
}

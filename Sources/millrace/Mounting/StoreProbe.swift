import ObjectStore
import Posix

/// Asks the store once, before anything is mounted: one listing of one entry.
enum StoreProbe {
  /// The bound for an endpoint that cannot be reached is 15 s, start-up included.
  static let patience = Duration.seconds(14)

  static func listing(_ mounted: StoreFactory.Mounted) throws(StoreError) -> ListPage {
    let page = try wait(for: mounted) { done in
      mounted.store.list(
        ListRequest(
          folder: mounted.prefix, limit: 1, deadline: .now + patience, failsFast: true),
        completion: done)
    }
    if mounted.prefix.bytes.isEmpty || !page.objects.isEmpty || !page.folders.isEmpty
      || page.next != nil
    {
      return page
    }
    // A folder's own marker is left out of its listing.
    do {
      _ = try wait(for: mounted) { done in
        mounted.store.head(mounted.prefix, deadline: .now + .seconds(5), completion: done)
      }
      return page
    } catch  where error.kind == .notFound {
      throw StoreError(
        .notFound, store: mounted.name, detail: "no object has this prefix",
        advice: "check its spelling, or mount the bucket itself")
    }
  }

  static func wait<Value: Sendable>(
    for mounted: StoreFactory.Mounted,
    _ start: (@escaping @Sendable (Result<Value, StoreError>) -> Void) -> Void
  ) throws(StoreError) -> Value {
    let answer = Monitor<Result<Value, StoreError>?>(nil)
    start { result in answer.signal { $0 = result } }
    // A second more than the store's own deadline, in case that fails.
    guard let result = answer.wait(until: .now + patience + .milliseconds(500), for: { $0 }) else {
      throw StoreError(.timedOut, store: mounted.name, detail: "no answer within 14 seconds")
    }
    return try result.get()
  }
}

import Logging
import Metrics
import ObjectStore
import Posix
import Testing

@testable import FileSystem

@Suite struct MetadataEvictorTests {
  /// Nothing could be dropped a moment ago: pages that come do not try again, whoever closes a directory does.
  @Test func aClosedDirectoryIsEvictedHoweverShortlyNothingCouldBe() throws {
    let store = KeyStore()
    store.put((0..<100).map { "f\($0)" })
    let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    let context = MountContext(
      store: store, prefix: .root,
      options: FileSystemOptions(metadataTTL: .seconds(60), metadataLimit: 1), metrics: Metrics(),
      log: log)
    let worker = WorkerPool(named: "evictor", threads: 1)
    defer { worker.shutdown() }
    let cache = MetadataCache(context)
    let evictor = MetadataEvictor(
      context, cache: cache, kernel: KernelInvalidator(context, cache: cache, worker: worker))
    guard case .begun(let listing)? = cache.requestListing(of: .root, isOpened: true)?.access else {
      Issue.record("no listing is begun")
      return
    }
    _ = listing.add(store.firstPage(of: .root), isLast: true)
    _ = cache.complete(listing)
    evictor.evict()
    #expect(cache.newestListing(of: .root) === listing)
    listing.unpin()
    evictor.evict(always: true)
    #expect(cache.newestListing(of: .root) == nil)
  }
}

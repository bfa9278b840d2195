import Logging
import Metrics
import ObjectStore
import Posix
import Testing

@testable import FileSystem

@Suite struct TreeDiffTests {
  /// Each directory is refused at once: that is a loop, and no depth of calls that grows with their number.
  @Test func anUpdateOfManyDirectoriesWhileShuttingDownEnds() {
    let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    let context = MountContext(
      store: KeyStore(), prefix: .root, options: FileSystemOptions(metadataTTL: .seconds(60)),
      metrics: Metrics(), log: log)
    let worker = WorkerPool(named: "update", threads: 1)
    defer { worker.shutdown() }
    let cache = MetadataCache(context)
    let lister = DirectoryLister(
      context, cache: cache,
      persistence: ListingPersistence(context, cache: cache, worker: worker),
      kernel: KernelInvalidator(context, cache: cache, worker: worker))
    _ = cache.shutDown()
    let replies = Lock<[UpdateReport]>([])
    TreeDiff(
      lister: lister, paths: context.paths, directories: (0..<300_000).map { ObjectKey("d\($0)/") }
    ) { report in replies.withLock { $0.append(report) } }
    .start()
    #expect(replies.withLock { $0.map(\.directories) } == [0])
  }
}

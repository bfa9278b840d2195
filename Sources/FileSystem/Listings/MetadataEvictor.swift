import Metrics
import ObjectStore
import Posix
import Synchronization

/// Keeps the limit of metadata by dropping listings that no reader has open, the longest unused first. The kernel is
/// asked to forget what it still refers to; this is dropped when the kernel has done so.
final class MetadataEvictor: Sendable {
  /// Where nothing more could be dropped, it is not tried again for this long.
  private static let interval = Duration.milliseconds(100)

  private let context: MountContext
  private let cache: MetadataCache
  private let kernel: KernelInvalidator
  /// On the real clock, in nanoseconds: until then there is nothing more to drop.
  private let pausedUntil = Atomic<UInt64>(0)

  init(_ context: MountContext, cache: MetadataCache, kernel: KernelInvalidator) {
    self.context = context
    self.cache = cache
    self.kernel = kernel
  }

  /// `always`: something may be dropped that could not a moment ago, and nothing else need happen after this.
  func evict(always: Bool = false) {
    if always { pausedUntil.store(0, ordering: .relaxed) }
    // Another thread that found nothing a moment ago may set it again before it is read here.
    guard always || Instant.now.nanoseconds >= pausedUntil.load(ordering: .relaxed),
      let eviction = cache.evict(limit: context.options.metadataLimit)
    else { return }
    // All that could go is gone or asked for: the next page need not look through everything again.
    if eviction.dropped.isEmpty {
      pausedUntil.store((.now + Self.interval).nanoseconds, ordering: .relaxed)
    }
    // Their memory goes at the end of this, outside the lock.
    context.metrics.metadata.listedDirectories.add(-Int64(eviction.dropped.count))
    for listing in eviction.releasing { kernel.dropEntries(of: listing) }
  }
}

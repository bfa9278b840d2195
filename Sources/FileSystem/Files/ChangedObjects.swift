import Logging
import Metrics
import ObjectStore
import Posix

/// What follows when the engine meets another version of an object than the one it reads.
final class ChangedObjects: Sendable {
  /// Changed objects that are remembered as logged, at most.
  private static let limit = 100_000

  private let context: MountContext
  private let cache: MetadataCache
  private let kernel: KernelInvalidator
  /// Objects of a fixed tree that were logged.
  private let logged = Lock<Set<ObjectKey>>([])

  init(_ context: MountContext, cache: MetadataCache, kernel: KernelInvalidator) {
    self.context = context
    self.cache = cache
    self.kernel = kernel
  }

  /// Nothing older than now is valid in the object's directory.
  func objectChanged(_ version: ObjectVersion) {
    if let frozenBy = context.options.frozenBy { return logOnce(version, frozenBy) }
    let (directory, name) = MountPaths.split(version.key)
    let read = Observation(
      kind: .file, size: version.size, modified: version.modified, etag: version.etag)
    let stale = cache.objectChanged(name, in: directory, from: read)
    if let stale { kernel.invalidate(stale, name, in: directory) }
  }

  /// Names are fixed: the object stays as it was said to be, and reading what is not here yet fails.
  private func logOnce(_ version: ObjectVersion, _ frozenBy: String) {
    let isNew = logged.withLock { logged in
      logged.count < Self.limit && logged.insert(version.key).inserted
    }
    guard isNew else { return }
    context.metrics.metadata.staleObjects.add()
    context.log.error(
      """
      \(context.store.displayName)/\(version.key): changed or deleted in the store since \(frozenBy) was made; \
      uncached parts fail with ESTALE; run millrace snapshot diff for the full list
      """)
  }
}

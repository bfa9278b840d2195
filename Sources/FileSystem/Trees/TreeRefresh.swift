import ObjectStore
import Posix

/// What is asked for from outside: to forget what is known of a part of the tree, or to look now what
/// the store has changed in it.
final class TreeRefresh: Sendable {
  private let context: MountContext
  private let cache: MetadataCache
  private let persistence: ListingPersistence
  private let lister: DirectoryLister
  private let kernel: KernelInvalidator

  init(
    _ context: MountContext, cache: MetadataCache, persistence: ListingPersistence,
    lister: DirectoryLister, kernel: KernelInvalidator
  ) {
    self.context = context
    self.cache = cache
    self.persistence = persistence
    self.lister = lister
    self.kernel = kernel
  }

  /// See `FileSystem.refresh`.
  func refresh(_ path: [UInt8]) -> Int {
    let (below, parent) = context.paths.subtree(at: path)
    persistence.drop(below: below)
    let (listings, names) = cache.invalidate(below: below, parent: parent)
    kernel.drop(names, isEverything: parent == nil)
    return listings
  }

  /// See `FileSystem.update`.
  func update(_ path: [UInt8], reply: @escaping @Sendable (UpdateReport) -> Void) {
    if let frozenBy = context.options.frozenBy {
      var report = UpdateReport()
      report.failures = ["this mount shows \(frozenBy), which does not change"]
      return reply(report)
    }
    let (below, _) = context.paths.subtree(at: path)
    kernel.drop(cache.invalidateUnlisted(below: below))
    persistence.restoreAll(below: below)
    TreeDiff(
      lister: lister, paths: context.paths, directories: cache.listedDirectories(below: below),
      reply: reply
    ).start()
  }
}

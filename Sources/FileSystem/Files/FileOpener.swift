import ObjectStore
import Posix
import ReadEngine
import SystemPackage

/// Opens files: the version that an inode is of, once it is confirmed that the path still has it. Tells the versions of
/// paths to those who look at files without being the kernel.
final class FileOpener: Sendable {
  private let context: MountContext
  private let engine: ReadEngine
  private let lookup: LookupService
  private let handler = Lock<Callback<OpenedFile, Void>?>(nil)

  init(_ context: MountContext, engine: ReadEngine, lookup: LookupService) {
    self.context = context
    self.engine = engine
    self.lookup = lookup
  }

  /// See `FileSystem.onOpen`.
  func onOpen(_ body: @escaping @Sendable (OpenedFile) -> Void) {
    handler.withLock { $0 = Callback(body) }
  }

  /// See `FileSystem.open`.
  func open(_ id: NodeID, reply: @escaping Reply<OpenFile>) {
    lookup.confirm(id, during: "open") { [self] result in
      switch result {
      case .failure(let error): reply(.failure(error))
      case .success(nil): reply(.failure(.isDirectory))
      case .success(let node?) where node.seen.isArchived && node.seen.kind == .file:
        openArchived(id, node, reply)
      case .success(let node?): reply(open(id, node))
      }
    }
  }

  /// A listing does not tell which of the archived objects have been restored: the store is asked.
  private func openArchived(_ id: NodeID, _ node: Node, _ reply: @escaping Reply<OpenFile>) {
    context.store.head(node.path, deadline: context.deadline) { [self] result in
      if case .success(let now) = result, !now.isArchived { return reply(open(id, node)) }
      var failure = StoreError(
        .archived, store: context.store.displayName, key: node.path,
        detail: "the object is archived",
        advice: "restore it in the store (aws s3api restore-object), then open it again")
      if case .failure(let error) = result { failure = error }
      reply(.failure(context.report(failure, during: "open")))
    }
  }

  private func open(_ id: NodeID, _ node: Node) -> Result<OpenFile, Errno> {
    if node.seen.kind == .folder { return .failure(.isDirectory) }
    let version = node.seen.version(of: node.path)
    let object = engine.open(version)
    if let handler = handler.withLock({ $0 }) {
      handler(
        OpenedFile(folder: node.directory, name: node.name, version: version, hash: object.hash))
    }
    // An inode is one version for ever, so the pages that the kernel has of it are always right.
    return .success(OpenFile(node: id, object: object, keepsPageCache: true))
  }

  /// See `FileSystem.version(atPath:)`.
  func version(atPath path: [UInt8], reply: @escaping Reply<ObjectVersion>) {
    let key = context.paths.root + path
    let (directory, name) = MountPaths.split(key)
    // Every component: no name of a mount is "..", and a store that is a folder would follow one.
    let names = path.split(separator: NameRules.slash, omittingEmptySubsequences: false)
    guard names.allSatisfy({ NameRules.isReachable($0) }) else {
      return reply(.failure(.noSuchFileOrDirectory))
    }
    lookup.find(name, in: directory) { [context] result in
      switch result {
      case .failure(let error): reply(.failure(context.report(error, during: "lookup")))
      case .success(let found):
        guard let seen = found.seen else { return reply(.failure(.noSuchFileOrDirectory)) }
        guard seen.kind == .file else { return reply(.failure(.isDirectory)) }
        reply(.success(seen.version(of: key)))
      }
    }
  }
}

extension Observation {
  /// The version that was seen of an object.
  func version(of key: ObjectKey) -> ObjectVersion {
    ObjectVersion(key: key, etag: etag, size: size ?? 0, modified: modified)
  }
}

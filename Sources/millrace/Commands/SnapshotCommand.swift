import ArgumentParser
import CatalogStore
import Credentials
import Formats
import Glibc
import Logging
import Metrics
import ObjectStore
import Posix

struct SnapshotCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "snapshot",
    abstract: "Record the objects of a store: keys, sizes and ETags.",
    discussion: """
      A mount with --snapshot NAME shows the data set as it was until the end of the training run, and names each \
      object that changed. Snapshots are kept in the cache directory.

      Examples:
        millrace snapshot create v1 s3://bucket/train
        millrace mount s3://bucket/train /mnt/data --snapshot v1
        millrace snapshot diff v1
      """,
    subcommands: [Create.self, List.self, Diff.self, Remove.self])

  /// Where snapshots are.
  static func cache(_ option: CacheDirectoryOption) throws(Failure) -> String {
    guard let cache = try Settings.cacheFolder(option, processEnvironment()) else {
      throw .usage("snapshots are kept in the cache directory: give one with --cache-dir")
    }
    try MountChecks.snapshots(in: cache)
    return cache
  }

  /// What any module throws becomes a line of ours.
  static func telling(_ body: () throws -> Void) throws {
    do { try body() } catch let code as ExitCode { throw code } catch { throw Failure(error) }
  }

  /// Everything below a source, listed now.
  static func list(_ source: String, _ options: SharedOptions) throws -> (
    mounted: StoreFactory.Mounted, catalog: Catalog, requests: Int
  ) {
    var settings = try Settings(
      source: source, options: options, environment: processEnvironment())
    settings.printWarnings()
    settings.snapshot = nil
    // Who may read a file is looked at when it is read, not kept.
    settings.sourceAccess = nil
    let log = Logger(label: "snapshot", factory: { _ in SwiftLogNoOpLogHandler() })
    let mounted = try StoreFactory.make(settings, metrics: Metrics().store, log: log)
    defer { mounted.store.shutdown() }
    _ = try StoreProbe.listing(mounted)
    let (catalog, requests) = try TreeLister.list(
      mounted.store, below: mounted.prefix, timeout: settings.ioTimeout)
    return (mounted, catalog, requests)
  }

  struct Create: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "List SOURCE and record its objects as NAME.",
      usage: "millrace snapshot create NAME SOURCE [--replace] [options]")
    @Argument(help: "Letters, digits, '.', '_' and '-'.") var name: String
    @Argument(help: "\(SourceAddress.forms)") var source: String
    @Flag(help: "Replace a snapshot of this name.") var replace = false
    @OptionGroup var options: SourceOptions
    @OptionGroup(visibility: .hidden) var mountOptions: MountingOptions

    func run() throws { try SnapshotCommand.telling(work) }

    private func work() throws {
      guard Snapshot.isName(name) else {
        throw Failure.usage(
          "snapshot name '\(oneLine(name))': 1 to 64 letters, digits, '.', '_' or '-', not a '.' first"
        )
      }
      let cache = try SnapshotCommand.cache(options.cache)
      if !replace, let known = Snapshot.all(in: cache).first(where: { $0.name == name }) {
        throw Failure(
          "there is a snapshot \(name) of \(known.source) already; choose another name, or give --replace"
        )
      }
      let began = Instant.now
      let created = Int64(time(nil))
      let (mounted, catalog, requests) = try SnapshotCommand.list(
        source, SharedOptions(options, mountOptions))
      let snapshot = Snapshot(
        name: name, source: mounted.name, identity: mounted.store.identity, prefix: mounted.prefix,
        created: created, objects: catalog.count, bytes: catalog.totalBytes)
      try snapshot.write(catalog, in: cache)
      let seconds = Int((Instant.now - began).seconds * 10)
      Output.line(
        "Snapshot \(name) of \(mounted.name): \(counted(catalog.count, "object")), "
          + "\(ByteSize.show(catalog.totalBytes)), \(counted(requests, "request")), "
          + "\(seconds / 10).\(seconds % 10) s")
    }
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List the snapshots.")
    @OptionGroup var options: CacheDirectoryOption

    func run() throws { try SnapshotCommand.telling(work) }

    private func work() throws {
      let all = Snapshot.all(in: try SnapshotCommand.cache(options))
      for snapshot in all {
        Output.line(
          "\(snapshot.name)  \(UTCTime.text(snapshot.created))  "
            + "\(counted(snapshot.objects, "object"))  \(ByteSize.show(snapshot.bytes))  "
            + snapshot.source)
      }
      if all.isEmpty { Output.line("no snapshots; make one: millrace snapshot create NAME SOURCE") }
    }
  }

  struct Remove: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "rm", abstract: "Remove a snapshot; cached data stays.")
    @Argument(help: "Name of the snapshot.") var name: String
    @OptionGroup var options: CacheDirectoryOption

    func run() throws { try SnapshotCommand.telling(work) }

    private func work() throws {
      let cache = try SnapshotCommand.cache(options)
      guard Snapshot.isName(name), try Snapshot.remove(name, in: cache) else {
        throw Failure("there is no snapshot \(oneLine(name)); see millrace snapshot list")
      }
      Output.line("Removed snapshot \(name)")
    }
  }

  struct Diff: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show what changed since NAME, in the store or in a later snapshot.",
      usage: "millrace snapshot diff NAME [OTHER] [options]",
      discussion: """
        Prints a line for each object: + added, ~ changed, - removed. Exit codes are those of diff(1): 0 nothing \
        changed, 1 something changed, 2 failure.
        """)
    @Argument(help: "Name of a snapshot.") var name: String
    @Argument(help: "A later snapshot, in place of the store as it is now.") var other: String?
    @OptionGroup var options: SourceOptions
    @OptionGroup(visibility: .hidden) var mountOptions: MountingOptions

    func run() throws {
      do { try SnapshotCommand.telling(work) } catch let failure as Failure {
        throw Failure(failure.description, .usage)
      }
    }

    private func work() throws {
      let cache = try SnapshotCommand.cache(options.cache)
      let (old, before) = try Snapshot.load(name, in: cache)
      let after: Catalog
      if let other {
        let (new, catalog) = try Snapshot.load(other, in: cache)
        guard new.identity == old.identity, new.prefix == old.prefix else {
          throw Failure(
            "\(name) is of \(old.source), \(other) of \(new.source): not to be compared")
        }
        after = catalog
      } else {
        let (mounted, catalog, _) = try SnapshotCommand.list(
          old.source, SharedOptions(options, mountOptions))
        guard mounted.store.identity == old.identity else {
          throw Failure(
            "\(name) is of \(old.identity), and this source is \(mounted.store.identity); give the same "
              + "--endpoint-url")
        }
        after = catalog
      }
      let changes = CatalogDifference(before, after)
      for change in changes.lines {
        let path = change.key.bytes.dropFirst(old.prefix.bytes.count)
        Output.line("\(change.mark) \(printable(bytes: path))")
      }
      Output.line("\(changes.added) added, \(changes.changed) changed, \(changes.removed) removed")
      if !changes.lines.isEmpty { throw ExitCode(1) }
    }
  }
}

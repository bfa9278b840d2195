import ObjectStore
import Posix

/// Finds a file with bytes near the top of a source and reads one byte of it.
///
/// Bounded: so many listings, so many files tried, and directories down to a depth. Used by doctor, and by mount before
/// it says that it is ready.
struct ReadProbe {
  enum Outcome {
    case read(ObjectVersion, milliseconds: Int64)
    /// No file with bytes was found.
    case noFile
    /// Every file that was tried is refused; the error of the first.
    case denied(StoreError)
    /// Something else went wrong, which may pass.
    case failed(StoreError)
  }

  /// Directories below the top that are looked into.
  static let depthMax = 3
  private static let listingsMax = 8
  private static let filesMax = 3
  /// Names of one listing.
  private static let pageSize = 100
  /// Where a fetch is of the whole file, a large one is not begun.
  private static let wholeFileMax: UInt64 = 16 << 20

  private let mounted: StoreFactory.Mounted
  private let deadline: Instant
  private let asksForSizes: Bool
  private var listings = 0
  private var tried: Set<ObjectKey> = []
  private var refusal: StoreError?

  private init(_ mounted: StoreFactory.Mounted, until deadline: Instant, asksForSizes: Bool) {
    self.mounted = mounted
    self.deadline = deadline
    self.asksForSizes = asksForSizes
  }

  /// `page`: a listing of the top that is there already. `asksForSizes`: of files whose listing has no size, which some
  /// servers give only with all of the file.
  static func run(
    _ mounted: StoreFactory.Mounted, from page: ListPage, until deadline: Instant,
    asksForSizes: Bool
  ) -> Outcome {
    var probe = ReadProbe(mounted, until: deadline, asksForSizes: asksForSizes)
    do throws(StoreError) {
      return try probe.search(page)
    } catch {
      return .failed(error)
    }
  }

  /// Breadth first: what one file or directory refuses another may allow.
  private mutating func search(_ top: ListPage) throws(StoreError) -> Outcome {
    if top.isEmpty, top.next == nil { return .noFile }
    if let outcome = try read(oneOf: top) { return outcome }
    var level = [mounted.prefix]
    for _ in 0...Self.depthMax {
      var below: [ObjectKey] = []
      for folder in level {
        guard listings < Self.listingsMax else { break }
        listings += 1
        guard let page = try page(of: folder) else { continue }
        if let outcome = try read(oneOf: page) { return outcome }
        below += page.folders.prefix(2)
      }
      level = below
    }
    return refusal.map { .denied($0) } ?? .noFile
  }

  /// nil: it may not be listed, as with a policy for some prefixes.
  private func page(of folder: ObjectKey) throws(StoreError) -> ListPage? {
    do throws(StoreError) {
      return try StoreProbe.list(mounted, folder, limit: Self.pageSize, until: deadline)
    } catch {
      guard error.kind == .accessDenied || error.kind == .notFound else { throw error }
      return nil
    }
  }

  /// nil: there is none in it, or it is refused and others can be tried.
  private mutating func read(oneOf page: ListPage) throws(StoreError) -> Outcome? {
    for version in try files(of: page) {
      guard tried.count < Self.filesMax else { break }
      guard tried.insert(version.key).inserted else { continue }
      let began = Instant.now
      do throws(StoreError) {
        try fetch(version)
        return .read(version, milliseconds: Int64((Instant.now - began).milliseconds))
      } catch {
        guard error.kind == .accessDenied else { throw error }
        refusal = refusal ?? error
      }
    }
    return tried.count < Self.filesMax ? nil : refusal.map { .denied($0) }
  }

  /// The smallest of a page's files that have bytes.
  private func files(of page: ListPage) throws(StoreError) -> [ObjectVersion] {
    let objects = page.objects.filter { !$0.isArchived && !$0.isOversized }
    let limit = mounted.store.traits.supportsRanges ? UInt64.max : Self.wholeFileMax
    let sized = objects.compactMap(\.version).filter { $0.size > 0 && $0.size <= limit }
    if !sized.isEmpty {
      return Array(sized.sorted { $0.size < $1.size }.prefix(2 * Self.filesMax))
    }
    guard asksForSizes, let unsized = objects.first(where: { $0.size == nil }) else { return [] }
    let found = try StoreProbe.wait(for: mounted, until: deadline) { done in
      mounted.store.head(unsized.key, deadline: deadline, completion: done)
    }
    return [found.version].compactMap { $0 }.filter { $0.size > 0 && $0.size <= limit }
  }

  private func fetch(_ version: ObjectVersion) throws(StoreError) {
    let sink = FirstByteSink()
    let ticket = mounted.store.fetch(
      FetchRequest(version: version, range: 0..<1, deadline: deadline), into: sink)
    guard let result = sink.ending.wait(until: deadline + .milliseconds(500), for: { $0 }) else {
      ticket.cancel()
      throw StoreError(.timedOut, store: mounted.name, key: version.key, detail: "no response")
    }
    try result.get()
  }

  private final class FirstByteSink: FetchSink {
    let ending = Monitor<Result<Void, StoreError>?>(nil)
    var isAwaited: Bool { true }
    func waitedForLimit(_ time: Duration) {}
    func beginVerified() {}
    func receive(_ bytes: UnsafeRawBufferPointer) {}
    func finish(_ result: Result<Void, StoreError>) { ending.signal { $0 = result } }
  }
}

import Glibc
import ObjectStore
import Posix
import Testing

@testable import FileSystem

/// Listings that never end, and pages that grow in memory.
@Suite struct ListingBudgetTests {
  /// Page after page, each with a new token, from a thread of its own.
  private final class CountingStore: ObjectStore {
    let displayName = "counting://test"
    let identity = "counting://test"
    let traits = StoreTraits()
    let pages = Lock(0)
    private let names: Int
    private let worker = WorkerPool(named: "counting", threads: 1)

    init(namesInAPage names: Int) { self.names = names }

    func list(
      _ request: ListRequest, completion: @escaping @Sendable (Result<ListPage, StoreError>) -> Void
    ) {
      _ = worker.submit { [self] in
        let number = pages.withLock { pages in
          pages += 1
          return pages
        }
        var page = ListPage(next: "page \(number)")
        for name in 0..<names {
          let digits = String(number * names + name)
          let key =
            request.folder
            + Array((String(repeating: "0", count: 20 - digits.utf8.count) + digits).utf8)
          page.add(ObjectAttributes(key: key, size: 1, modified: 0))
        }
        completion(.success(page))
      }
    }

    func head(
      _ key: ObjectKey, deadline: Instant,
      completion: @escaping @Sendable (Result<ObjectAttributes, StoreError>) -> Void
    ) {}

    func fetch(_ request: FetchRequest, into sink: any FetchSink) -> any FetchTicket { NoTicket() }
    func shutdown() { worker.shutdown() }

    private final class NoTicket: FetchTicket {
      func cancel() {}
    }
  }

  private func list(_ store: CountingStore, bytesMax: Int) -> Result<Int, StoreError>? {
    let outcome = Monitor<Result<Int, StoreError>?>(nil)
    let listing = DirectoryListing(
      id: ListingID(slot: 1, serial: 0), directory: ObjectKey("folder/"), started: .now,
      account: ByteAccount())
    let run = ListingFetcher(
      listing, store: store,
      terms: ListingFetcher.Terms(
        timeout: .seconds(5), maySplit: false, isTrusted: false,
        budget: ListingBudget(bytesMax: bytesMax)),
      events: ListingFetcher.Events(
        mayGoOn: { true }, learned: { _ in }, grew: {},
        ended: { _, result in outcome.signal { $0 = result } }))
    run.start()
    return outcome.wait(until: .now + .seconds(60)) { $0 }
  }

  @Test func aListingThatCountsUpForEverIsStoppedByItsMemory() throws {
    let store = CountingStore(namesInAPage: 1000)
    defer { store.shutdown() }
    guard case .failure(let error)? = list(store, bytesMax: 1 << 20) else {
      Issue.record("it did not end")
      return
    }
    #expect(error.kind == .badReply && error.key == ObjectKey("folder/"))
    #expect(error.advice.contains("--metadata-limit"))
    // 60 bytes a name.
    #expect(store.pages.withLock { $0 } <= 19)
  }

  @Test func aListingOfPagesWithoutANameIsStopped() throws {
    let store = CountingStore(namesInAPage: 0)
    defer { store.shutdown() }
    guard case .failure(let error)? = list(store, bytesMax: .max) else {
      Issue.record("it did not end")
      return
    }
    #expect(error.detail.contains("does not end"))
    #expect(store.pages.withLock { $0 } == 10_001)
  }

  @Test func pagesWithoutANameCountOnlyInARow() {
    var budget = ListingBudget()
    var page = ListPage()
    for round in 0..<3 {
      for _ in 0..<10_000 { #expect(budget.exceeded(by: ListPage()) == nil, "\(round)") }
      page.addFolder(ObjectKey("a/"))
      #expect(budget.exceeded(by: page) == nil)
    }
  }

  @Test func aPageTakesNoMoreThanItsRoomAndSaysSo() {
    var page = ListPage(room: 100)
    for index in 0..<30 { page.addFolder(ObjectKey("folder\(index)/")) }
    #expect(page.isCutOff && page.byteCount <= 100)
    var budget = ListingBudget()
    #expect(budget.exceeded(by: page) != nil)
    var sum = ListPage()
    sum.append(page)
    #expect(sum.isCutOff)
  }
}

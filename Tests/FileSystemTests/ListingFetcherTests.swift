import ObjectStore
import Posix
import Testing

@testable import FileSystem

/// Pages of one folder in parts side by side: whatever the names, the order of answers and the store's
/// habits, the folder has the names that the store has, each once.
@Suite struct ListingFetcherTests {
  private final class Watch: Sendable {
    let outcome = Lock<Result<Int, StoreError>?>(nil)
    let begins = Lock<Bool?>(nil)

    func run(_ store: KeyStore, folder: ObjectKey, isTrusted: Bool = false) -> ListingFetcher {
      let listing = DirectoryListing(
        id: ListingID(slot: 1, serial: 0), directory: folder, started: .now,
        account: ByteAccount())
      return ListingFetcher(
        listing, store: store,
        terms: ListingFetcher.Terms(
          timeout: .seconds(5), maySplit: true, isTrusted: isTrusted,
          budget: ListingBudget(bytesMax: 1 << 30)),
        events: ListingFetcher.Events(
          mayGoOn: { true }, learned: { works in self.begins.withLock { $0 = works } },
          grew: {}, ended: { _, result in self.outcome.withLock { $0 = result } }))
    }
  }

  private func names(of listing: DirectoryListing) -> [[UInt8]] {
    (0..<listing.count).map { Array(listing[$0].name) }
  }

  private func randomNames(_ random: inout some RandomNumberGenerator) -> [String] {
    let count = Int.random(in: 0...400, using: &random)
    switch Int.random(in: 0..<6, using: &random) {
    case 0:
      return (0..<count).map { number in
        "img_" + String(repeating: "0", count: 6 - String(number).count) + "\(number).jpg"
      }
    case 1:
      return (0..<count).map { _ in
        String(UInt64.random(in: 0 ... .max, using: &random), radix: 16)
      }
    case 2:  // clusters
      return (0..<count).map { _ in
        "n0\(Int.random(in: 1...3, using: &random) * 1234)_\(Int.random(in: 0...99_999, using: &random))"
      }
    case 3:  // folders and files within each other's names
      return (0..<count).map { _ in
        ["a", "a-", "a-1", "b", "b/c", "a/x", "a-/y", "é", "~"].randomElement(using: &random)!
          + (Bool.random(using: &random) ? "\(Int.random(in: 0...50, using: &random))" : "")
      }
    case 4: return (0..<count).map { "\($0)" }
    default:
      return (0..<count).map { _ in
        String(
          (0..<Int.random(in: 1...6, using: &random)).map { _ in
            "abcXYZ019_-.".randomElement(using: &random)!
          })
      }
    }
  }

  @Test func anyFolderIsListedAsItIs() throws {
    for seed in 0..<600 as Range<UInt64> {
      let note: Comment = "seed \(seed)"
      var random = SeededGenerator(seed: seed)
      let honours = seed % 5 != 0
      let store = KeyStore(
        pageSize: Int.random(in: 1...20, using: &random), honoursAfter: honours)
      store.put(randomNames(&random).map { "folder/\($0)" })
      store.put(["aaa", "folder.txt", "zzz/1"])
      store.hold()
      let watch = Watch()
      let isTrusted = honours && Bool.random(using: &random)
      let run = watch.run(store, folder: ObjectKey("folder/"), isTrusted: isTrusted)
      run.start()
      var shown: [[UInt8]] = []
      while store.answerOne({ Int.random(in: 0..<$0, using: &random) }) {
        let now = names(of: run.listing)
        #expect(now.starts(with: shown), "an entry moved, seed \(seed)")
        shown = now
      }
      guard case .success? = watch.outcome.withLock({ $0 }) else {
        Issue.record("did not end, seed \(seed)")
        continue
      }
      let whole = KeyStore(pageSize: 1 << 20)
      for (key, object) in store.objects { whole.put(key, object) }
      var builder = ListingBuilder(folder: ObjectKey("folder/"))
      builder.add(whole.firstPage(of: ObjectKey("folder/")), isLast: true)
      let expected = (0..<builder.entries.count).map { Array(builder.entries[$0].name) }
      #expect(names(of: run.listing) == expected, note)
      #expect(run.listing.totals.digest == builder.entries.digest, note)
      #expect(store.mostWaiting <= ListingPlan.widthLimit + 1, note)
    }
  }

  /// 100,000 names, answered a round trip at a time.
  @Test func aLargeFolderTakesFewRoundTrips() throws {
    let numbers = (0..<100_000).map { "img_" + String("00000\($0)".suffix(6)) + ".jpg" }
    let hashes = (0..<100_000).map { number -> String in
      var generator = SeededGenerator(seed: UInt64(number))
      return String(generator.next(), radix: 16) + String(generator.next(), radix: 16)
    }
    for names in [numbers, hashes] {
      let store = KeyStore()
      store.put(names)
      store.hold()
      let watch = Watch()
      let run = watch.run(store, folder: .root)
      run.start()
      var rounds = 0
      while store.answer() > 0 { rounds += 1 }
      #expect(run.listing.count == Set(names).count)
      #expect(watch.begins.withLock { $0 } == true)
      #expect(rounds <= 16)
      #expect(store.lists <= 125)
    }
  }

  @Test func aSmallFolderIsOneRequest() {
    let store = KeyStore()
    store.put((0..<1000).map { "f\($0)" })
    let watch = Watch()
    watch.run(store, folder: .root).start()
    #expect(store.lists == 1)
  }

  @Test func aFailureEndsItAndWhatComesLaterIsIgnored() {
    let store = KeyStore(pageSize: 10)
    store.put((0..<500).map { "f\($0 + 1000)" })
    store.hold()
    let watch = Watch()
    let run = watch.run(store, folder: .root)
    run.start()
    for _ in 0..<3 { store.answer() }
    let followed = Lock<Result<Int, StoreError>?>(nil)
    run.whenEnded { result in followed.withLock { $0 = result } }
    run.cancel(StoreError(.timedOut, store: "keys", detail: "test"))
    let count = run.listing.count
    while store.answer() > 0 {}
    #expect(run.listing.count == count)
    #expect(throws: StoreError.self) { try watch.outcome.withLock { try $0?.get() } }
    #expect(throws: StoreError.self) { try followed.withLock { try $0?.get() } }
  }

  @Test func namesAreNumbersInTheirOrder() throws {
    for seed in 0..<500 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let names = Set(randomNames(&random)).map { Array($0.utf8) }
        .sorted { $0.lexicographicallyPrecedes($1) }
      guard names.count > 1, let spacing = KeyspacePartitioner(names) else { continue }
      let values = names.map { spacing.value($0) }
      #expect(zip(values, values.dropFirst()).allSatisfy { $0 <= $1 }, "seed \(seed)")
      for value in values {
        let name = try #require(spacing.name(value), "seed \(seed)")
        #expect(spacing.value(name) == value, "seed \(seed)")
      }
    }
  }
}

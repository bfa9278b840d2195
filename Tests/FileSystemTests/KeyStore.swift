import ObjectStore
import Posix

/// Keys in memory, listed in pages as S3 does; answers are given when the test says so.
final class KeyStore: ObjectStore {
  struct Object: Equatable {
    var size: UInt64
    var etag: String
  }

  private struct State {
    var objects: [[UInt8]: Object] = [:]
    var sorted: [[UInt8]]?
    /// Answers that wait; nil: each is given at once.
    var waiting: [@Sendable () -> Void]?
    /// Listings fail from this one on, counted from 1.
    var failsFrom = Int.max
    var lists = 0
    var heads = 0
    var mostWaiting = 0
  }

  let displayName = "keys://test"
  let identity = "keys://test"
  let traits: StoreTraits
  private let pageSize: Int
  private let honoursAfter: Bool
  private let state = Lock(State())

  init(pageSize: Int = 1000, listsFromAnyName: Bool = true, honoursAfter: Bool = true) {
    self.pageSize = pageSize
    self.honoursAfter = honoursAfter
    traits = StoreTraits(listsFromAnyName: listsFromAnyName)
  }

  var lists: Int { state.withLock { $0.lists } }
  var heads: Int { state.withLock { $0.heads } }
  var objects: [[UInt8]: Object] { state.withLock { $0.objects } }
  /// Answers that waited at once, at most.
  var mostWaiting: Int { state.withLock { $0.mostWaiting } }

  func put(_ key: [UInt8], _ object: Object = Object(size: 1, etag: "\"e\"")) {
    state.withLock {
      if $0.objects.updateValue(object, forKey: key) == nil { $0.sorted = nil }
    }
  }

  func put(_ keys: some Sequence<String>) { for key in keys { put(Array(key.utf8)) } }

  func delete(_ key: [UInt8]) {
    state.withLock { if $0.objects.removeValue(forKey: key) != nil { $0.sorted = nil } }
  }

  func failLists(from number: Int) { state.withLock { $0.failsFrom = number } }

  // MARK: Answers

  func hold() { state.withLock { $0.waiting = [] } }

  /// Gives the answers that wait now, in the order that `choose` says; how many.
  @discardableResult
  func answer(shuffledBy random: (inout [@Sendable () -> Void]) -> Void = { _ in }) -> Int {
    var round = state.withLock { state in
      defer { if state.waiting != nil { state.waiting = [] } }
      return state.waiting ?? []
    }
    random(&round)
    for answer in round { answer() }
    return round.count
  }

  /// Gives one of the answers that wait.
  func answerOne(_ choose: (Int) -> Int) -> Bool {
    let answer = state.withLock { state -> (@Sendable () -> Void)? in
      guard let count = state.waiting?.count, count > 0 else { return nil }
      return state.waiting!.remove(at: choose(count))
    }
    answer?()
    return answer != nil
  }

  private func reply(_ answer: @escaping @Sendable () -> Void) {
    let isHeld = state.withLock { state in
      state.waiting?.append(answer)
      state.mostWaiting = max(state.mostWaiting, state.waiting?.count ?? 0)
      return state.waiting != nil
    }
    if !isHeld { answer() }
  }

  // MARK: ObjectStore

  func list(
    _ request: ListRequest, completion: @escaping @Sendable (Result<ListPage, StoreError>) -> Void
  ) {
    // What the store had when it was asked.
    let page = state.withLock { state -> ListPage? in
      state.lists += 1
      return state.lists >= state.failsFrom ? nil : self.page(request, &state)
    }
    reply {
      completion(
        page.map { .success($0) }
          ?? .failure(StoreError(.serverFailure, store: "keys", detail: "test")))
    }
  }

  func firstPage(of folder: ObjectKey) -> ListPage {
    state.withLock { page(ListRequest(folder: folder, limit: pageSize, deadline: .now), &$0) }
  }

  private func page(_ request: ListRequest, _ state: inout State) -> ListPage {
    let keys = state.sorted ?? state.objects.keys.sorted { $0.lexicographicallyPrecedes($1) }
    state.sorted = keys
    let folder = request.folder.bytes
    var after = request.cursor.map { Array($0.utf8).decodedHex } ?? []
    if request.cursor == nil, honoursAfter, let start = request.after { after = start.bytes }
    var low = 0
    var high = keys.count
    while low < high {
      let middle = (low + high) / 2
      let isBefore =
        after.isEmpty
        ? keys[middle].lexicographicallyPrecedes(folder)
        : !after.lexicographicallyPrecedes(keys[middle])
      if isBefore { low = middle + 1 } else { high = middle }
    }
    var page = ListPage()
    var taken = 0
    var lastFolder: [UInt8]?
    for key in keys[low...] {
      guard key.starts(with: folder) else { break }
      if key == folder {
        page.folderExists = true
        continue
      }
      if let lastFolder, key.starts(with: lastFolder) { continue }
      let slash = key[folder.count...].firstIndex(of: UInt8(ascii: "/"))
      // A folder that a page before named.
      if let slash, !after.isEmpty, after.starts(with: key[...slash]) { continue }
      if taken == min(pageSize, request.limit) {
        page.next = after.hex
        break
      }
      taken += 1
      if let slash {
        lastFolder = Array(key[...slash])
        page.addFolder(ObjectKey(bytes: lastFolder!))
        after = lastFolder!
      } else {
        let object = state.objects[key]!
        page.add(
          ObjectAttributes(
            key: ObjectKey(bytes: key), size: object.size, modified: 1, etag: object.etag))
        after = key
      }
    }
    return page
  }

  func head(
    _ key: ObjectKey, deadline: Instant,
    completion: @escaping @Sendable (Result<ObjectAttributes, StoreError>) -> Void
  ) {
    let object = state.withLock { state in
      state.heads += 1
      return state.objects[key.bytes]
    }
    reply {
      guard let object else {
        return completion(.failure(StoreError(.notFound, store: "keys", key: key, detail: "none")))
      }
      completion(
        .success(ObjectAttributes(key: key, size: object.size, modified: 1, etag: object.etag)))
    }
  }

  func fetch(_ request: FetchRequest, into sink: any FetchSink) -> any FetchTicket {
    sink.finish(.failure(StoreError(.unsupported, store: "keys", detail: "names alone")))
    return Ticket()
  }

  private final class Ticket: FetchTicket {
    func cancel() {}
  }

  func shutdown() {}
}

extension [UInt8] {
  fileprivate var hex: String {
    map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  fileprivate var decodedHex: [UInt8] {
    let digits = compactMap { Character(UnicodeScalar($0)).hexDigitValue }
    return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
  }
}

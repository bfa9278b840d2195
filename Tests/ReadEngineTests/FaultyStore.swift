import ObjectStore
import Posix

/// A store around a real one that counts, delays, fails or holds back fetches.
final class FaultyStore: ObjectStore {
  struct Faults {
    /// Fetches that began, in order.
    var fetched: [Range<UInt64>] = []
    /// Given to the next fetches instead of their bytes, first one first.
    var failures: [StoreError] = []
    /// Fail after this many bytes were delivered, once.
    var failAfter: (bytes: Int, error: StoreError)?
    /// The next fetch gets so many bytes more than it asked for, and is told that all is well.
    var miscount: Int?
    /// Fetches wait until this is false.
    var isClosed = false
    var waiting: [@Sendable () -> Void] = []
    /// Before the first byte.
    var delay: Duration?
    /// What each fetch is said to have waited for a rate limit.
    var limitWait: Duration?
  }

  private let inner: any ObjectStore
  private let faults = Lock(Faults())

  init(_ inner: any ObjectStore) { self.inner = inner }

  var displayName: String { inner.displayName }
  var identity: String { inner.identity }
  var traits: StoreTraits { inner.traits }

  var fetched: [Range<UInt64>] { faults.withLock { $0.fetched } }
  var bytesFetched: UInt64 { fetched.reduce(0) { $0 + UInt64($1.count) } }
  var waitingCount: Int { faults.withLock { $0.waiting.count } }

  func change(_ body: (inout Faults) -> Void) { faults.withLock { body(&$0) } }

  /// Lets fetches through that were held back.
  func open() {
    let waiting = faults.withLock { faults in
      faults.isClosed = false
      defer { faults.waiting = [] }
      return faults.waiting
    }
    for fetch in waiting { fetch() }
  }

  func list(
    _ request: ListRequest, completion: @escaping @Sendable (Result<ListPage, StoreError>) -> Void
  ) { inner.list(request, completion: completion) }

  func head(
    _ key: ObjectKey, deadline: Instant,
    completion: @escaping @Sendable (Result<ObjectAttributes, StoreError>) -> Void
  ) { inner.head(key, deadline: deadline, completion: completion) }

  @discardableResult
  func fetch(_ request: FetchRequest, into sink: any FetchSink) -> any FetchTicket {
    let ticket = LateTicket()
    let start: @Sendable () -> Void = { [inner] in
      ticket.inner.withLock { $0 = inner.fetch(request, into: sink) }
    }
    enum Fate {
      case fail(StoreError)
      case failAfter(Int, StoreError)
      case miscount(Int)
      case hold
      case late(Duration)
      case pass
    }
    if let wait = faults.withLock({ $0.limitWait }) { sink.waitedForLimit(wait) }
    let fate: Fate = faults.withLock { faults in
      faults.fetched.append(request.range)
      if !faults.failures.isEmpty { return .fail(faults.failures.removeFirst()) }
      if let (bytes, error) = faults.failAfter {
        faults.failAfter = nil
        return .failAfter(bytes, error)
      }
      if let extra = faults.miscount {
        faults.miscount = nil
        return .miscount(extra)
      }
      if faults.isClosed {
        faults.waiting.append(start)
        return .hold
      }
      return faults.delay.map { .late($0) } ?? .pass
    }
    switch fate {
    case .fail(let error): sink.finish(.failure(error))
    case .failAfter(let bytes, let error):
      inner.fetch(request, into: CuttingSink(sink, after: bytes, with: error))
    case .miscount(let extra): inner.fetch(request, into: MiscountingSink(sink, extra))
    case .hold: break
    case .late(let delay):
      Task {
        try? await Task.sleep(for: delay)
        start()
      }
    case .pass: start()
    }
    return ticket
  }

  func shutdown() { inner.shutdown() }
}

private final class LateTicket: FetchTicket {
  let inner = Lock<(any FetchTicket)?>(nil)
  func cancel() { inner.withLock { $0 }?.cancel() }
}

/// Passes bytes on up to a point, then fails whatever the store says.
private final class CuttingSink: FetchSink {
  private let sink: any FetchSink
  private let left: Lock<Int>
  private let error: StoreError

  init(_ sink: any FetchSink, after bytes: Int, with error: StoreError) {
    self.sink = sink
    left = Lock(bytes)
    self.error = error
  }

  var isAwaited: Bool { sink.isAwaited }
  func waitedForLimit(_ time: Duration) { sink.waitedForLimit(time) }

  func beginVerified() { sink.beginVerified() }

  func receive(_ bytes: UnsafeRawBufferPointer) {
    let count = left.withLock { left in
      let count = min(left, bytes.count)
      left -= count
      return count
    }
    if count > 0 { sink.receive(UnsafeRawBufferPointer(rebasing: bytes[..<count])) }
  }

  func finish(_ result: Result<Void, StoreError>) { sink.finish(.failure(error)) }
}

/// Passes on so many bytes more, or fewer, than came.
private final class MiscountingSink: FetchSink {
  private let sink: any FetchSink
  private let extra: Int
  private let isFirst = Lock(true)

  init(_ sink: any FetchSink, _ extra: Int) {
    self.sink = sink
    self.extra = extra
  }

  var isAwaited: Bool { sink.isAwaited }
  func waitedForLimit(_ time: Duration) { sink.waitedForLimit(time) }

  func beginVerified() { sink.beginVerified() }

  func receive(_ bytes: UnsafeRawBufferPointer) {
    let drops = isFirst.withLock { isFirst in
      defer { isFirst = false }
      return isFirst && extra < 0 ? -extra : 0
    }
    sink.receive(UnsafeRawBufferPointer(rebasing: bytes.dropFirst(drops)))
  }

  func finish(_ result: Result<Void, StoreError>) {
    if extra > 0 { [UInt8](repeating: 0, count: extra).withUnsafeBytes { sink.receive($0) } }
    sink.finish(result)
  }
}

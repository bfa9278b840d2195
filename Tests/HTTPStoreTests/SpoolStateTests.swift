import ObjectStore
import Posix
import TestSupport
import Testing

@testable import HTTPStore

/// The spool's decisions alone: downloads that grow, fail and end in any order, readers that give up, a disk that is
/// full now and then.
@Suite struct SpoolStateTests {
  @Test(arguments: 0..<200) func everyReaderIsAnsweredOnceAndOnlyWithWhatIsThere(seed: Int) throws {
    let scratch = try TemporaryFolder("spool-state")
    var run = SpoolRun(seed: UInt64(seed), SpoolAllowance(folder: scratch.path, floor: 0))
    for _ in 0..<400 { try run.step() }
    run.stop()
    #expect(run.mistakes.isEmpty, "seed \(seed): \(run.mistakes.prefix(3))")
    #expect(run.answered == run.readers, "seed \(seed)")
  }
}

/// A spool's state, what happens to it, and what must hold.
private struct SpoolRun {
  private final class Reader: FetchSink {
    let id: Int
    init(id: Int) { self.id = id }
    var isAwaited: Bool { true }
    func waitedForLimit(_ time: Duration) {}
    func beginVerified() {}
    func receive(_ bytes: UnsafeRawBufferPointer) {}
    func finish(_ result: Result<Void, StoreError>) {}
  }

  private final class Transfer: FetchTicket {
    func cancel() {}
  }

  /// What is known of a download from the outside.
  private struct Download {
    var received: UInt64 = 0
    var isVerified = false
    var hasFailed = false
    var hasEnded = false
    var readable: UInt64 { isVerified && (!hasEnded || hasFailed) ? 0 : received }
  }

  private static let size: UInt64 = 1000
  private var random: SeededGenerator
  private let allowance: SpoolAllowance
  private var state = SpoolState(name: "http://test")
  private var now = Instant(nanoseconds: 1)
  private var downloads: [ObjectVersion: Download] = [:]
  private var tickets: [SpoolTicket] = []
  private var seen: Set<Int> = []
  private(set) var readers = 0
  private(set) var mistakes: [String] = []
  var answered: Int { seen.count }

  init(seed: UInt64, _ allowance: SpoolAllowance) {
    random = SeededGenerator(seed: seed)
    self.allowance = allowance
  }

  mutating func step() throws {
    now = now + .milliseconds(Int.random(in: 0...2000, using: &random))
    switch Int.random(in: 0..<10, using: &random) {
    case 0..<3: add()
    case 3..<6: grow()
    case 6: tickets.randomElement(using: &random)?.cancel()
    default: break
    }
    while let turn = state.nextTurn(at: now) { try act(turn) }
    if state.entries.count > 8 { mistakes.append("\(state.entries.count) files") }
    for version in downloads.keys where state.entries[version] == nil {
      downloads[version] = nil
    }
  }

  private mutating func add() {
    let key = ObjectKey("file \(Int.random(in: 0..<14, using: &random))")
    let start = UInt64.random(in: 0..<Self.size, using: &random)
    let request = FetchRequest(
      version: ObjectVersion(key: key, etag: "", size: Self.size, modified: 0),
      range: start..<UInt64.random(in: start + 1...Self.size, using: &random),
      deadline: now + .seconds(Int.random(in: 1...200, using: &random)))
    let ticket = SpoolTicket()
    tickets.append(ticket)
    let waiter = SpoolState.Waiter(request: request, sink: Reader(id: readers), ticket: ticket)
    readers += 1
    if !state.add(waiter, at: now) { mistakes.append("refused before the stop") }
  }

  /// Something happens to one of the downloads.
  private mutating func grow() {
    let all = downloads.filter { !$0.value.hasEnded }
    guard let version = all.keys.sorted(by: { $0.key < $1.key }).randomElement(using: &random)
    else { return }
    let received = downloads[version]!.received
    switch Int.random(in: 0..<8, using: &random) {
    case 0:
      state.beginVerified(version)
      downloads[version]!.isVerified = true
      downloads[version]!.received = 0
    case 1:
      state.ended(version, .failure(StoreError(.unreachable, store: "s", detail: "")), at: now)
      downloads[version]!.hasEnded = true
      downloads[version]!.hasFailed = true
    case 2:
      if state.fail(version, StoreError(.unsupported, store: "", detail: "")) == nil {
        mistakes.append("no transfer to cancel")
      }
      downloads[version]!.hasFailed = true
    default:
      if let place = state.place(of: version), place.position != received {
        mistakes.append("writes at \(place.position), received \(received)")
      }
      guard !downloads[version]!.hasFailed else { break }
      let count = UInt64.random(in: 0...Self.size - received, using: &random)
      state.wrote(Int(count), of: version)
      downloads[version]!.received += count
      guard received + count == Self.size else { break }
      state.ended(version, .success(()), at: now)
      downloads[version]!.hasEnded = true
    }
  }

  private mutating func act(_ turn: SpoolState.Turn) throws {
    switch turn {
    case .begin(let waiter): try begin(waiter)
    case .give(let waiter, _):
      answer(waiter)
      let readable = downloads[waiter.request.version]?.readable ?? 0
      if readable < waiter.request.range.upperBound { mistakes.append("given of \(readable)") }
    case .fail(let waiter, let error):
      answer(waiter)
      if error.store.isEmpty { mistakes.append("no store in \(error)") }
      let isDue = waiter.ticket.isCancelled || now >= waiter.request.deadline
      let hasFailed = downloads[waiter.request.version]?.hasFailed == true
      if !isDue, !hasFailed { mistakes.append("failed without a reason: \(error)") }
    case .stop: mistakes.append("stopped by itself")
    }
  }

  private mutating func begin(_ waiter: SpoolState.Waiter) throws {
    let version = waiter.request.version
    if Int.random(in: 0..<4, using: &random) == 0 {
      // The disk is full.
      if state.postpone(waiter) { return }
      if !state.entries.isEmpty { mistakes.append("refused though a download may end") }
      return answer(waiter)
    }
    guard let space = allowance.reserve(1), let file = SpoolFile.open(allowance.folder, space)
    else { throw SupportError("no file in \(allowance.folder)") }
    guard state.begin(waiter, in: file, at: now) else { return }
    if downloads[version] != nil, state.entries[version]!.received != 0 {
      mistakes.append("a second download of \(version.key)")
    }
    downloads[version] = Download()
    if state.started(Transfer(), of: version) { mistakes.append("stopped by itself") }
  }

  private mutating func answer(_ waiter: SpoolState.Waiter) {
    let id = (waiter.sink as! Reader).id
    if !seen.insert(id).inserted { mistakes.append("reader \(id) is answered twice") }
  }

  /// What still waits is handed out, once.
  mutating func stop() {
    _ = state.stop()
    guard case .stop(let waiters)? = state.nextTurn(at: now) else {
      return mistakes.append("does not stop")
    }
    for waiter in waiters { answer(waiter) }
    let refused = FetchRequest(
      version: ObjectVersion(key: ObjectKey("late"), etag: "", size: 1, modified: 0), range: 0..<1,
      deadline: now)
    if state.add(
      SpoolState.Waiter(request: refused, sink: Reader(id: -1), ticket: SpoolTicket()), at: now)
    {
      mistakes.append("accepted after the stop")
    }
  }
}

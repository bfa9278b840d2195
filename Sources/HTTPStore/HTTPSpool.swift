import Glibc
import ObjectStore
import Posix
import SystemPackage

/// Large files of a server that ignores ranges: each is downloaded once, into a file without a name, and
/// every range of it is given from there as soon as it has come.
///
/// Bounded: so many files at once, within the disk's allowance, and what was not read lately goes. A range waits until
/// its deadline.
final class HTTPSpool: Sendable {
  /// Starts the download of a whole version into a sink.
  typealias Download = @Sendable (ObjectVersion, any FetchSink) -> any FetchTicket

  private struct Waiter {
    var request: FetchRequest
    var sink: any FetchSink
    var ticket: Ticket
  }

  /// Closed when the last who reads or writes it lets go.
  private final class File: Sendable {
    let raw: CInt
    let space: SpoolAllowance.Reservation
    init(_ raw: CInt, _ space: SpoolAllowance.Reservation) {
      self.raw = raw
      self.space = space
    }
    deinit { close(raw) }
  }

  private struct Entry {
    var file: File
    var received: UInt64 = 0
    /// What was received counts once the download has ended well.
    var isVerified = false
    var failure: StoreError?
    var ticket: (any FetchTicket)?
    var hasEnded = false
    var waiters: [Waiter] = []
    var usedAt: Instant

    /// Bytes from the start that may be given.
    var readable: UInt64 { isVerified && (!hasEnded || failure != nil) ? 0 : received }
  }

  private struct State {
    var entries: [ObjectVersion: Entry] = [:]
    /// For whose file there is no room yet.
    var pending: [Waiter] = []
    /// The disk had no room for the last one that was tried: none is tried until a file has gone.
    var isShort = false
    var isStopping = false

    mutating func remove(_ version: ObjectVersion) -> File? {
      isShort = false
      return entries.removeValue(forKey: version)?.file
    }
  }

  /// Files held at once; who wants one more waits, until its deadline.
  private static let mostFiles = 8
  private static let idle: Duration = .seconds(30)

  private let name: String
  private let state: Monitor<State>
  private let thread: ServiceThread

  /// The files lie in the allowance's folder, without names.
  init(_ allowance: SpoolAllowance, name: String, download: @escaping Download) {
    self.name = name
    let state = Monitor(State())
    self.state = state
    thread = ServiceThread(named: "http-spool") { Self.run(state, allowance, name, download) }
    thread.ensure()
  }

  func fetch(_ request: FetchRequest, into sink: any FetchSink) -> any FetchTicket {
    let ticket = Ticket()
    let waiter = Waiter(request: request, sink: sink, ticket: ticket)
    if let reason = thread.ensure(), reason != .canceled {
      Self.fail(
        waiter, .unreachable,
        "the server does not support range requests, and no download can be started: \(reason)",
        name)
      return ticket
    }
    let isTaken = state.signal(all: true) { state in
      if state.isStopping { return false }
      if state.entries[request.version] != nil {
        state.entries[request.version]!.waiters.append(waiter)
        state.entries[request.version]!.usedAt = .now
      } else {
        state.pending.append(waiter)
      }
      return true
    }
    if !isTaken { Self.fail(waiter, .cancelled, "shutting down", name) }
    return ticket
  }

  private static func fail(
    _ waiter: Waiter, _ kind: StoreError.Kind, _ detail: String, _ name: String
  ) {
    waiter.sink.finish(
      .failure(
        StoreError(kind, store: name, key: waiter.request.version.key, detail: detail)))
  }

  /// A file for who waited for room, and its download.
  private static func begin(
    _ waiter: Waiter, _ state: Monitor<State>, _ allowance: SpoolAllowance, _ name: String,
    _ download: Download
  ) {
    let version = waiter.request.version
    guard let space = space(for: version, state, allowance) else {
      return wait(waiter, state, allowance, name)
    }
    guard let file = open(allowance.folder, space) else {
      let why = String(cString: strerror(errno))
      return fail(
        waiter, .unsupported,
        "the server does not support range requests, and downloads cannot be stored in \(allowance.folder): "
          + why, name)
    }
    let mustBegin = state.withLock { state in
      if state.entries[version] != nil {
        state.entries[version]!.waiters.append(waiter)
        return false
      }
      state.entries[version] = Entry(file: file, waiters: [waiter], usedAt: .now)
      return true
    }
    guard mustBegin else { return }
    let transfer = download(version, Sink(version: version, state: state))
    let isOver = state.withLock { state in
      if state.entries[version]?.hasEnded == false { state.entries[version]!.ticket = transfer }
      return state.isStopping
    }
    if isOver { transfer.cancel() }
  }

  /// Files that were downloaded and are not read go first.
  private static func space(
    for version: ObjectVersion, _ state: Monitor<State>, _ allowance: SpoolAllowance
  ) -> SpoolAllowance.Reservation? {
    while true {
      if let space = allowance.reserve(version.size) { return space }
      let idle = state.withLock { takeIdle(&$0) }
      if idle == nil { return nil }
    }
  }

  /// Other downloads hold the space: it is tried again when one has ended. Where there are none it will never fit.
  private static func wait(
    _ waiter: Waiter, _ state: Monitor<State>, _ allowance: SpoolAllowance, _ name: String
  ) {
    let mayCome = state.withLock { state in
      if state.entries.isEmpty { return false }
      state.pending.append(waiter)
      state.isShort = true
      return true
    }
    if mayCome { return }
    let version = waiter.request.version
    waiter.sink.finish(
      .failure(
        StoreError(
          .unsupported, store: name, key: version.key,
          detail:
            "the server does not support range requests, and its \(version.size) bytes do not fit on "
            + "the disk of \(allowance.folder)",
          advice: "raise --cache-size, or free space there")))
  }

  func shutdown() {
    let tickets = state.signal(all: true) { state in
      state.isStopping = true
      return state.entries.values.compactMap(\.ticket)
    }
    for ticket in tickets { ticket.cancel() }
    thread.stop()?.join()
  }

  private static func hasRoom(_ state: inout State) -> Bool {
    if state.entries.count < mostFiles { return true }
    return takeIdle(&state) != nil
  }

  /// The file that was not read for the longest time; its space is free when it is let go.
  private static func takeIdle(_ state: inout State) -> File? {
    let idle = state.entries.filter { $0.value.waiters.isEmpty && $0.value.hasEnded }
    guard let oldest = idle.min(by: { $0.value.usedAt < $1.value.usedAt }) else { return nil }
    return state.remove(oldest.key)
  }

  private static func open(_ folder: String, _ space: SpoolAllowance.Reservation) -> File? {
    // O_TMPFILE does not reach Swift; a file that is unlinked at once has no name either.
    var path = Array("\(folder)/.millrace-spool-XXXXXX".utf8CString)
    let file = mkstemp(&path)
    guard file >= 0 else { return nil }
    _ = fcntl(file, F_SETFD, FD_CLOEXEC)
    unlink(path)
    return File(file, space)
  }

  /// The download's bytes, on the transport's thread.
  private final class Sink: FetchSink {
    private let version: ObjectVersion
    private let state: Monitor<State>

    init(version: ObjectVersion, state: Monitor<State>) {
      self.version = version
      self.state = state
    }

    var isAwaited: Bool { true }
    func waitedForLimit(_ time: Duration) {}

    func beginVerified() {
      state.withLock { state in
        state.entries[version]?.isVerified = true
        state.entries[version]?.received = 0
      }
    }

    func receive(_ bytes: UnsafeRawBufferPointer) {
      // After a write that failed nothing more is taken: it would not lie where it belongs.
      guard let entry = state.withLock({ $0.entries[version] }), entry.failure == nil else {
        return
      }
      let (file, position) = (entry.file, entry.received)
      guard UInt64(bytes.count) <= version.size - position else {
        return fail("the server sent more than the \(version.size) bytes of its Content-Length")
      }
      var written = 0
      while written < bytes.count {
        let count = pwrite(
          file.raw, bytes.baseAddress! + written, bytes.count - written,
          off_t(position) + off_t(written))
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { break }
        written += count
      }
      let code = errno
      file.space.wrote(UInt64(written))
      state.signal(all: true) { $0.entries[version]?.received += UInt64(written) }
      if written < bytes.count {
        fail("the download cannot be stored: \(String(cString: strerror(code)))")
      }
    }

    private func fail(_ detail: String) {
      let ticket = state.signal(all: true) { state in
        state.entries[version]?.failure = StoreError(
          .unsupported, store: "", key: version.key, detail: detail)
        return state.entries[version]?.ticket
      }
      ticket?.cancel()
    }

    func finish(_ result: Result<Void, StoreError>) {
      state.signal(all: true) { state in
        state.entries[version]?.ticket = nil
        state.entries[version]?.hasEnded = true
        state.isShort = false
        state.entries[version]?.usedAt = .now
        if case .failure(let error) = result, state.entries[version]?.failure == nil {
          state.entries[version]?.failure = error
        }
      }
    }
  }

  // MARK: The thread that gives

  private enum Turn {
    case begin(Waiter)
    case give(Waiter, File)
    case fail(Waiter, StoreError)
    case stop([Waiter])
  }

  private static func run(
    _ state: Monitor<State>, _ allowance: SpoolAllowance, _ name: String, _ download: Download
  ) {
    while true {
      let wake = state.withLock { nextDeadline($0) }
      guard let turn = state.wait(until: wake, for: { nextTurn(&$0, name) }) else { continue }
      switch turn {
      case .begin(let waiter): begin(waiter, state, allowance, name, download)
      case .give(let waiter, let file): give(waiter, file, name)
      case .fail(let waiter, let error): waiter.sink.finish(.failure(error))
      case .stop(let waiters):
        for waiter in waiters { fail(waiter, .cancelled, "shutting down", name) }
        return
      }
    }
  }

  private static func nextDeadline(_ state: State) -> Instant {
    let waiters = state.entries.values.flatMap(\.waiters) + state.pending
    let first = waiters.map(\.request.deadline).min()
    // This thread is not notified of cancellations: it polls for them while there are waiters.
    return min(first ?? .now + idle, .now + (waiters.isEmpty ? idle : .milliseconds(500)))
  }

  private static func nextTurn(_ state: inout State, _ name: String) -> Turn? {
    if state.isStopping {
      return .stop(state.entries.values.flatMap(\.waiters) + state.pending)
    }
    let now = Instant.now
    if let turn = nextPending(&state, name, now) { return turn }
    for (version, entry) in state.entries {
      for (index, waiter) in entry.waiters.enumerated() {
        func error(_ kind: StoreError.Kind, _ detail: String) -> StoreError {
          StoreError(kind, store: name, key: version.key, detail: detail)
        }
        let turn: Turn
        if waiter.ticket.isCancelled {
          turn = .fail(waiter, error(.cancelled, "the request was cancelled"))
        } else if entry.readable >= waiter.request.range.upperBound {
          turn = .give(waiter, entry.file)
        } else if let failure = entry.failure {
          var failure = failure
          if failure.store.isEmpty { failure.store = name }
          turn = .fail(waiter, failure)
        } else if now >= waiter.request.deadline {
          turn = .fail(
            waiter,
            error(
              .timedOut,
              "the server does not support range requests, and this part was not received before the deadline"
            ))
        } else {
          continue
        }
        state.entries[version]!.waiters.remove(at: index)
        state.entries[version]!.usedAt = now
        state.isShort = false
        return turn
      }
      // A failed download is started again by the next request; one that no request needs is removed.
      let isOver = entry.hasEnded && (entry.failure != nil || now > entry.usedAt + idle)
      if entry.waiters.isEmpty, isOver { _ = state.remove(version) }
    }
    return nil
  }

  private static func nextPending(
    _ state: inout State, _ name: String, _ now: Instant
  ) -> Turn? {
    for (index, waiter) in state.pending.enumerated() {
      let version = waiter.request.version
      if waiter.ticket.isCancelled || now >= waiter.request.deadline {
        state.pending.remove(at: index)
        let kind: StoreError.Kind = waiter.ticket.isCancelled ? .cancelled : .timedOut
        let detail =
          "the server does not support range requests, and \(state.entries.count) others are being downloaded"
        return .fail(waiter, StoreError(kind, store: name, key: version.key, detail: detail))
      }
      if state.entries[version] != nil || (!state.isShort && hasRoom(&state)) {
        state.pending.remove(at: index)
        return .begin(waiter)
      }
    }
    return nil
  }

  private static func give(_ waiter: Waiter, _ file: File, _ name: String) {
    let range = waiter.request.range
    var position = range.lowerBound
    withUnsafeTemporaryAllocation(byteCount: 128 << 10, alignment: 16) { buffer in
      while position < range.upperBound {
        let wanted = Int(min(UInt64(buffer.count), range.upperBound - position))
        let count = pread(file.raw, buffer.baseAddress, wanted, off_t(position))
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { break }
        waiter.sink.receive(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        position += UInt64(count)
      }
    }
    if position == range.upperBound { return waiter.sink.finish(.success(())) }
    waiter.sink.finish(
      .failure(
        StoreError(
          .serverFailure, store: name, key: waiter.request.version.key,
          detail: "the download cannot be read back")))
  }
}

/// A range that waits in the spool.
private final class Ticket: FetchTicket {
  private let cancelled = Lock(false)
  var isCancelled: Bool { cancelled.withLock { $0 } }
  func cancel() { cancelled.withLock { $0 = true } }
}

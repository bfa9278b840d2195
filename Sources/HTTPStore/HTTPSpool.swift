import Glibc
import ObjectStore
import Posix
import SystemPackage

/// Large files of a server that ignores ranges: each is downloaded once, into a file without a name, and
/// every range of it is given from there as soon as it has come.
///
/// Bounded: so many files at once, within the disk's allowance, and what was not read lately goes. A range waits until
/// its deadline. `SpoolState` decides; this is its thread, which acts without the lock.
final class HTTPSpool: Sendable {
  /// Starts the download of a whole version into a sink.
  typealias Download = @Sendable (ObjectVersion, any FetchSink) -> any FetchTicket

  private typealias Waiter = SpoolState.Waiter

  private let name: String
  private let state: Monitor<SpoolState>
  private let thread: ServiceThread

  /// The files lie in the allowance's folder, without names.
  init(_ allowance: SpoolAllowance, name: String, download: @escaping Download) {
    self.name = name
    let state = Monitor(SpoolState(name: name))
    self.state = state
    let giver = Giver(state: state, allowance: allowance, name: name, download: download)
    thread = ServiceThread(named: "http-spool") { giver.run() }
    thread.ensure()
  }

  func fetch(_ request: FetchRequest, into sink: any FetchSink) -> any FetchTicket {
    let ticket = SpoolTicket()
    let waiter = Waiter(request: request, sink: sink, ticket: ticket)
    if let reason = thread.ensure(), reason != .canceled {
      Self.fail(
        waiter, .unreachable,
        "the server does not support range requests, and no download can be started: \(reason)",
        name)
      return ticket
    }
    let isAccepted = state.signal(all: true) { $0.add(waiter, at: .now) }
    if !isAccepted { Self.fail(waiter, .cancelled, "shutting down", name) }
    return ticket
  }

  func shutdown() {
    let tickets = state.signal(all: true) { $0.stop() }
    for ticket in tickets { ticket.cancel() }
    thread.stop()?.join()
  }

  private static func fail(
    _ waiter: Waiter, _ kind: StoreError.Kind, _ detail: String, _ name: String
  ) {
    waiter.sink.finish(
      .failure(
        StoreError(kind, store: name, key: waiter.request.version.key, detail: detail)))
  }

  // MARK: The thread that gives

  /// What the thread works with: not the spool itself, which waits for it to end.
  private struct Giver: Sendable {
    let state: Monitor<SpoolState>
    let allowance: SpoolAllowance
    let name: String
    let download: Download

    func run() {
      while true {
        let wake = state.withLock { $0.nextDeadline(at: .now) }
        guard let turn = state.wait(until: wake, for: { $0.nextTurn(at: .now) }) else { continue }
        switch turn {
        case .begin(let waiter): begin(waiter)
        case .give(let waiter, let file): give(waiter, file)
        case .fail(let waiter, let error): waiter.sink.finish(.failure(error))
        case .stop(let waiters):
          for waiter in waiters { HTTPSpool.fail(waiter, .cancelled, "shutting down", name) }
          return
        }
      }
    }

    /// A file for who waited for room, and its download.
    private func begin(_ waiter: Waiter) {
      let version = waiter.request.version
      guard let space = space(for: version) else { return postpone(waiter) }
      guard let file = SpoolFile.open(allowance.folder, space) else {
        let why = String(cString: strerror(errno))
        return HTTPSpool.fail(
          waiter, .unsupported,
          "the server does not support range requests, and downloads cannot be stored in \(allowance.folder): "
            + why, name)
      }
      let mustBegin = state.withLock { $0.begin(waiter, in: file, at: .now) }
      guard mustBegin else { return }
      let transfer = download(version, SpoolDownload(version: version, state: state))
      if state.withLock({ $0.started(transfer, of: version) }) { transfer.cancel() }
    }

    /// Files that were downloaded and are not read go first.
    private func space(for version: ObjectVersion) -> SpoolAllowance.Reservation? {
      while true {
        if let space = allowance.reserve(version.size) { return space }
        let idle = state.withLock { $0.removeIdle() }
        if idle == nil { return nil }
      }
    }

    /// Other downloads hold the space. Where there are none it will never fit.
    private func postpone(_ waiter: Waiter) {
      if state.withLock({ $0.postpone(waiter) }) { return }
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

    private func give(_ waiter: Waiter, _ file: SpoolFile) {
      if file.read(waiter.request.range, into: waiter.sink) {
        return waiter.sink.finish(.success(()))
      }
      waiter.sink.finish(
        .failure(
          StoreError(
            .serverFailure, store: name, key: waiter.request.version.key,
            detail: "the download cannot be read back")))
    }
  }
}

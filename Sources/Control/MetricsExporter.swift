import NIOHTTP1
import Posix
public import SystemPackage

/// A mount of this node, as an exporter knows it before it asks.
public struct ExportedMount: Sendable {
  public var mountPoint: String
  public var source: String
  /// Nil: its daemon has ended.
  public var socket: ControlSocket?

  public init(mountPoint: String, source: String, socket: ControlSocket?) {
    self.mountPoint = mountPoint
    self.source = source
    self.socket = socket
  }

  var labels: [(name: String, value: String)] {
    [
      (name: "mountpoint", value: Self.short(mountPoint)),
      (name: "source", value: Self.short(source)),
    ]
  }

  /// Each line has it: users choose names of up to 4 KiB. What is cut off stands as a hash.
  private static func short(_ text: String) -> String {
    let limit = 256
    guard text.utf8.count > limit else { return text }
    return String(text.unicodeScalars.prefix(limit / 4)) + "...#"
      + String(FNV1a(text.utf8).value, radix: 16)
  }
}

/// Serves the metrics of all mounts of a node over TCP, read-only: `GET /metrics`. Each scrape asks all daemons at the
/// same time; one that does not respond within a second, or not with metrics, is left out and counted as down.
public final class MetricsExporter: Sendable {
  /// Scrapes that are made at the same time, and those that may wait.
  private static let scrapers = 2
  private static let queued = 16
  /// No more mounts are asked: their lines would be larger than what Prometheus takes of a target.
  static let mountLimit = 256

  private let server: HTTPServer
  private let mounts: @Sendable () -> [ExportedMount]
  private let patience: Duration
  private let batch: ScrapeBatch
  private let scraping: WorkerPool

  /// `mounts`: those of this moment, those that matter most first; called on a thread of this object. `processes`: with
  /// the metrics that name processes. `patience`: for what a daemon has to respond. Throws EAGAIN where the machine has
  /// no threads.
  public init(
    processes: Bool = false, patience: Duration = .seconds(1),
    mounts: @escaping @Sendable () -> [ExportedMount]
  ) throws(Errno) {
    self.mounts = mounts
    self.patience = patience
    batch = ScrapeBatch(processes: processes)
    // All users of the machine may connect: each has a connection for one short request.
    server = try HTTPServer(
      limits: HTTPLimits(
        headBytes: 16 << 10, patience: .seconds(5), patienceForBodies: 1, keepsAlive: false,
        bodyBytes: 64 << 10))
    scraping = WorkerPool(named: "scraping", threads: Self.scrapers, queueLimit: Self.queued)
  }

  /// `host`: a numeric address. `listens` is called with the port, `failed` with the reason why there is none.
  public func start(
    host: String, port: UInt16, listens: @escaping @Sendable (UInt16) -> Void,
    failed: @escaping @Sendable (String) -> Void
  ) {
    server.start(.internet(host: host, port: port), listens: listens, failed: failed) {
      [self] request in await answer(request)
    }
  }

  /// Waits for the scrapes that are being made, as long as one takes.
  public func stop() {
    server.stop()
    scraping.shutdown()
  }

  private func answer(_ request: ControlRequest) async -> ControlResponse {
    guard [.GET, .HEAD].contains(request.method) else {
      return Routes.refuse(.methodNotAllowed, "this exporter is read-only: GET /metrics")
    }
    guard request.path == "/metrics" else {
      return Routes.refuse(.notFound, "the metrics are at /metrics")
    }
    let text: [UInt8]? = await withCheckedContinuation { done in
      let isTaken = scraping.submit { [self] in done.resume(returning: scrape()) }
      if !isTaken { done.resume(returning: nil) }
    }
    return text.map { ControlResponse(contentType: MetricsText.contentType, body: $0) }
      ?? Routes.refuse(.serviceUnavailable, "\(Self.queued) scrapes are waiting; retry")
  }

  /// The text of all mounts, UTF-8, within `patience`.
  func scrape() -> [UInt8] {
    let all = mounts()
    let asked = all.prefix(Self.mountLimit)
    let texts = batch.ask(asked.map(\.socket), until: .now + patience)
    var metrics = MergedMetrics()
    let up = zip(asked, texts).map { mount, text in
      (labels: mount.labels, isUp: text.map { metrics.add($0, mount.labels) } ?? false)
    }
    let head = MetricsText.text(ofMountsUp: up, omitted: all.count - asked.count)
    return Array(head.utf8) + metrics.text
  }
}

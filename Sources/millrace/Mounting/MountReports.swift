import Control
import FileSystem
import FuseFrontEnd
import Glibc
import Metrics
import Posix
import Prefetch
import ReadEngine

/// What a mount reports of itself, to the control socket and to the readers of its control directory.
final class MountReports: Sendable {
  /// What does not change while it is mounted.
  struct Facts: Sendable {
    var source: String
    var mountPoint: String
    /// The control socket.
    var socket: String
    var configuration: EngineConfiguration
    var metadataLimit: Int
  }

  private struct Weak {
    weak var frontEnd: FuseFrontEnd?
  }

  private let facts: Facts
  private let metrics: Metrics
  private let engine: ReadEngine
  private let fileSystem: FileSystem
  private let prefetcher: Prefetcher
  private let frontEnd = Lock(Weak())
  private let began = Instant.now

  init(
    _ facts: Facts, _ metrics: Metrics, _ engine: ReadEngine, _ fileSystem: FileSystem,
    _ prefetcher: Prefetcher
  ) {
    self.facts = facts
    self.metrics = metrics
    self.engine = engine
    self.fileSystem = fileSystem
    self.prefetcher = prefetcher
  }

  /// Before this, reports have no processes.
  func isServed(by frontEnd: FuseFrontEnd) {
    self.frontEnd.withLock { $0.frontEnd = frontEnd }
  }

  /// Now, for the mount's user and root.
  func current() -> StatsReport {
    let frontEnd = frontEnd.withLock { $0.frontEnd }
    let memory = ProcessMemory.current()
    let configuration = facts.configuration
    return StatsReport(
      source: facts.source, mountPoint: facts.mountPoint, pid: getpid(), socket: facts.socket,
      version: Millrace.version, uptimeSeconds: (Instant.now - began).seconds,
      cacheDirectory: configuration.cacheFolder,
      limits: StatsReport.Limits(
        memory: configuration.memoryLimit, metadata: facts.metadataLimit,
        cache: configuration.cacheLimit, cacheReachable: engine.reachableCache),
      store: metrics.store.health.report(at: Int64(clamping: Instant.now.nanoseconds)),
      residentBytes: memory.resident, peakResidentBytes: memory.peak, metrics: metrics,
      engine: engine.usage(), fileSystem: fileSystem.statistics(), prefetch: prefetcher.fill,
      orders: prefetcher.orders, callers: frontEnd?.callers ?? [],
      session: frontEnd?.negotiated ?? [:])
  }

  /// What all processes together have counted.
  func totals(byName: Bool) -> ProcessTotals {
    frontEnd.withLock { $0.frontEnd }?.totals(byName: byName)
      ?? ProcessTotals(all: CallerReport(pid: 0, name: "", seconds: 0), byName: [])
  }

  /// A file of the control directory, which all users who may read the mount may read.
  func text(_ report: ControlReport) -> [UInt8]? {
    switch report {
    case .metrics: Array(MetricsText.text(of: current(), totals(byName: false)).utf8)
    case .statistics: (try? current().withoutProcessesAndPaths.json()).map { $0 + [10] }
    }
  }
}

/// VmRSS and VmHWM of /proc/self/status, bytes.
struct ProcessMemory {
  var resident: UInt64 = 0
  var peak: UInt64 = 0

  static func current() -> ProcessMemory {
    var memory = ProcessMemory()
    for line in (readSmallFile("/proc/self/status") ?? "").split(separator: "\n") {
      let kibibytes = UInt64(line.filter(\.isNumber)) ?? 0
      if line.hasPrefix("VmRSS:") { memory.resident = kibibytes << 10 }
      if line.hasPrefix("VmHWM:") { memory.peak = kibibytes << 10 }
    }
    return memory
  }
}

/// The control socket of a mount: HTTP with JSON over a unix socket.
///
/// The daemon serves it (`ControlServer`), the command line sends requests to it (`ControlClient`). Only the
/// modes of the socket and its directory decide which users may connect.
public import FileSystem
public import Metrics
public import Prefetch
public import ReadEngine

/// What `millrace stats` shows, and what the socket's GET /v1/stats answers. Sizes in bytes.
public struct StatsReport: Sendable, Codable {
  public struct Limits: Sendable, Codable {
    public var memory: Int
    public var metadata: Int
    public var cache: UInt64
    /// What the cache can really occupy: its limit, or what is cached and what `--cache-min-free` leaves of the free
    /// space. Nil without a cache on disk.
    public var cacheReachable: UInt64?
    public init(memory: Int, metadata: Int, cache: UInt64, cacheReachable: UInt64? = nil) {
      self.memory = memory
      self.metadata = metadata
      self.cache = cache
      self.cacheReachable = cacheReachable
    }
  }

  /// Of the mount, what does not change while it is mounted.
  public struct Mount: Sendable {
    public var source: String
    public var mountPoint: String
    /// The control socket.
    public var socket: String
    public var cacheDirectory: String?
    public init(source: String, mountPoint: String, socket: String, cacheDirectory: String?) {
      self.source = source
      self.mountPoint = mountPoint
      self.socket = socket
      self.cacheDirectory = cacheDirectory
    }
  }

  /// The process that serves it.
  public struct Daemon: Sendable {
    public var pid: Int32
    public var version: String
    /// Since the mount.
    public var uptimeSeconds: Double
    public var residentBytes: UInt64
    public var peakResidentBytes: UInt64
    public init(
      pid: Int32, version: String, uptimeSeconds: Double, residentBytes: UInt64 = 0,
      peakResidentBytes: UInt64 = 0
    ) {
      self.pid = pid
      self.version = version
      self.uptimeSeconds = uptimeSeconds
      self.residentBytes = residentBytes
      self.peakResidentBytes = peakResidentBytes
    }
  }

  /// What the parts of the mount say of themselves.
  public struct Parts: Sendable {
    public var store = StoreStatus()
    public var engine = EngineUsage()
    public var fileSystem = FileSystemStatistics()
    public var prefetch: FillReport
    public var orders: [OrderReport] = []
    public var callers: [CallerReport] = []
    /// What the kernel granted.
    public var session: [String: String] = [:]
    public init(prefetch: FillReport) { self.prefetch = prefetch }
  }

  public var source: String
  public var mountPoint: String
  public var pid: Int32
  /// The control socket.
  public var socket: String
  public var version: String
  public var uptimeSeconds: Double
  public var cacheDirectory: String?
  public var limits: Limits
  /// Whether the store responds.
  public var store: StoreStatus
  /// Resident memory now and at its peak.
  public var residentBytes: UInt64
  public var peakResidentBytes: UInt64
  /// "reads.bytesFromDisk": every counter of `Metrics` by module and name.
  public var counters: [String: UInt64] = [:]
  public var gauges: [String: Int64] = [:]
  public var peaks: [String: Int64] = [:]
  public var engine: EngineUsage
  public var fileSystem: FileSystemStatistics
  /// Background prefetch and its budget.
  public var prefetch: FillReport
  /// Orders in force.
  public var orders: [OrderReport]
  /// Processes that asked for something.
  public var callers: [CallerReport]
  /// What the kernel granted.
  public var session: [String: String]

  public init(
    of mount: Mount, by daemon: Daemon, limits: Limits, metrics: Metrics, parts: Parts
  ) {
    source = mount.source
    mountPoint = mount.mountPoint
    pid = daemon.pid
    socket = mount.socket
    version = daemon.version
    uptimeSeconds = daemon.uptimeSeconds
    cacheDirectory = mount.cacheDirectory
    self.limits = limits
    store = parts.store
    residentBytes = daemon.residentBytes
    peakResidentBytes = daemon.peakResidentBytes
    engine = parts.engine
    fileSystem = parts.fileSystem
    prefetch = parts.prefetch
    orders = parts.orders
    callers = parts.callers
    session = parts.session
    collect(metrics)
  }

  /// By reflection, so that a counter added to a room shows without a line here.
  private mutating func collect(_ metrics: Metrics) {
    for room in Mirror(reflecting: metrics).children {
      for item in Mirror(reflecting: room.value).children {
        guard let roomName = room.label, let itemName = item.label else { continue }
        let name = "\(roomName).\(itemName)"
        if let counter = item.value as? Counter { counters[name] = counter.count }
        if let gauge = item.value as? Gauge {
          gauges[name] = gauge.current
          peaks[name] = gauge.peak
        }
      }
    }
  }
}

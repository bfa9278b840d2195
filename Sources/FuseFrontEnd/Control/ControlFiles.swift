public import SystemPackage

/// What the mount does with the files of the control directory.
public struct ControlFiles: Sendable {
  /// All in bytes.
  public struct Limits: Sendable {
    /// What may be written to one file.
    public var file: Int
    /// What may be written to all that are open at once: every rank of a node writes its own at the start of an epoch.
    public var total: Int
    /// The name of an order.
    public var name: Int

    public init(file: Int, total: Int, name: Int) {
      self.file = file
      self.total = total
      self.name = name
    }
  }

  /// Puts an order in force, which may take a second; the errno is what close(2) returns. Called on a thread of the
  /// control directory's, one order after the other.
  public var apply: @Sendable (_ bytes: [UInt8], _ name: String) -> Errno?
  /// Ends an order. False: there is none of that name.
  public var remove: @Sendable (_ name: String) -> Bool
  /// The names of the orders in force.
  public var names: @Sendable () -> [String]
  public var limits: Limits
  /// Makes a report, in milliseconds, on a thread of its own; nil: there are no reports. It is read by all users who
  /// may read the mount.
  public var report: (@Sendable (ControlReport) -> [UInt8]?)?

  public init(
    apply: @escaping @Sendable (_ bytes: [UInt8], _ name: String) -> Errno?,
    remove: @escaping @Sendable (_ name: String) -> Bool,
    names: @escaping @Sendable () -> [String], limits: Limits,
    report: (@Sendable (ControlReport) -> [UInt8]?)? = nil
  ) {
    self.apply = apply
    self.remove = remove
    self.names = names
    self.limits = limits
    self.report = report
  }
}

/// A file of the control directory that programs read.
public enum ControlReport: String, CaseIterable, Sendable {
  /// For Prometheus.
  case metrics
  case statistics = "stats.json"
}

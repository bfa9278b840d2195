import FoundationEssentials
import Metrics
import ReadEngine

extension StatsReport {
  /// As JSON, pretty-printed, with sorted names.
  public func json() throws -> [UInt8] { try Self.encode(self) }

  static func encode(_ value: some Encodable) throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return Array(try encoder.encode(value))
  }

  /// For all users who may read the mount: without processes, and without paths of this machine and of the store
  /// but for the source's own name. Of the processes there is one row, their sum.
  public var withoutProcessesAndPaths: StatsReport {
    var report = self
    report.mountPoint = ""
    report.socket = ""
    report.cacheDirectory = nil
    report.engine.cacheDirectory = ""
    // It names the object.
    report.store.lastError = nil
    let isOn = session["passthrough"] == "on"
    report.session = session.filter { ["protocol", "readAhead"].contains($0.key) }
    report.session["passthrough"] = isOn ? "on" : "off"
    var sum = CallerReport(pid: 0, name: "(all)", seconds: 0)
    for caller in callers { sum.add(caller) }
    report.callers = callers.isEmpty ? [] : [sum]
    return report
  }
}

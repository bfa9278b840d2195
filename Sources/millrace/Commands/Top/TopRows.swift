import Metrics

/// Processes, or groups of them, with what they did in the last interval. Pure.
struct TopRow: Equatable {
  /// As the kernel names the process.
  var name: String
  /// 1 for a process of its own.
  var processes: Int
  /// Of a process of its own; 0: none.
  var pid: Int32
  /// The last interval.
  var recent: CallerReport

  static func == (one: TopRow, other: TopRow) -> Bool {
    one.name == other.name && one.processes == other.processes && one.pid == other.pid
  }

  private struct Key: Hashable {
    var pid: Int32
    var name: String
  }

  private struct Family: Hashable {
    var parent: Int32
    var name: String
  }

  /// Those that waited most come first. A loader's workers, which have one parent and one command, are a row
  /// together unless `unfolds`.
  static func rows(_ now: [CallerReport], since last: [CallerReport], unfolds: Bool) -> [TopRow] {
    let before = Dictionary(
      last.map { (Key(pid: $0.pid, name: $0.name), $0) }, uniquingKeysWith: { $1 })
    let single = now.map { caller in
      TopRow(
        name: caller.name, processes: 1, pid: caller.pid,
        recent: before[Key(pid: caller.pid, name: caller.name)].map { caller.since($0) } ?? caller)
    }
    return (unfolds ? single : folded(single)).sorted {
      ($0.recent.waited, $0.recent.bytes, $1.pid) > ($1.recent.waited, $1.recent.bytes, $0.pid)
    }
  }

  private static func folded(_ rows: [TopRow]) -> [TopRow] {
    var families: [Family: [TopRow]] = [:]
    for row in rows {
      families[Family(parent: row.recent.parent, name: row.name), default: []].append(row)
    }
    return families.flatMap { family, members -> [TopRow] in
      guard members.count > 1, family.parent > 0 else { return members }
      var sum = CallerReport(pid: 0, name: family.name, seconds: 0)
      for member in members { sum.add(member.recent) }
      return [TopRow(name: family.name, processes: members.count, pid: 0, recent: sum)]
    }
  }

  /// Of an interval of so many seconds: the share of its processes' time in which they waited, 0 to 1.
  func waitShare(of seconds: Double) -> Double {
    min(max(recent.waited / (seconds * Double(processes)), 0), 1)
  }

  /// A cause's part of that.
  func waitShare(of seconds: Double, for cause: WaitCause) -> Double {
    guard recent.waited > 0 else { return 0 }
    return waitShare(of: seconds) * max(recent.waited(for: cause), 0) / recent.waited
  }

  /// Of the bytes read, those that did not have to come from the store; nil: nothing was read.
  var hitRatio: Double? {
    let bytes = recent.bytes
    return bytes == 0 ? nil : 1 - Double(recent.bytesFromStore) / Double(bytes)
  }
}

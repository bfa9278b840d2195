import Posix

/// Spreads the connections to a host over the addresses that its name has: each address of S3 is
/// another server, and one alone would be the bottleneck. An address that cannot be connected to is
/// left alone for a while.
///
/// Pure: the resolver tells it what a name has, the transfers what they use.
struct HostAddressPool: Sendable {
  struct Host: Hashable, Sendable {
    var name: String
    var port: Int
  }

  /// A name server hands out a few addresses of many, others each time: the last ones named are kept.
  static let mostAddresses = 16
  static let mostHosts = 64
  static let addressLifetime: Duration = .seconds(300)
  /// A name is looked up anew after this.
  static let refreshInterval: Duration = .seconds(60)
  /// For how long an address that could not be connected to is left alone; twice as long for each time in
  /// a row, up to 16 times. Then one request tries it.
  static let quarantine: Duration = .seconds(30)

  private struct Entry: Sendable {
    var address: String
    var seenAt: Instant
    var inFlight = 0
    var lastUse: UInt64 = 0
    var failures = 0
    var avoidUntil = Instant(nanoseconds: 0)
  }

  private struct Record: Sendable {
    var entries: [Entry] = []
    var askedAt: Instant
    var lastUse: UInt64 = 0
  }

  private var records: [Host: Record] = [:]
  private var clock: UInt64 = 0

  /// The address for the next request to `host`: among those in use least, the one used last, for it
  /// has an idle connection. Nil: the name has none known, only one, or none that works, and libcurl is to
  /// connect by its own lights. `avoiding`: the address of a request that is too slow.
  mutating func acquire(_ host: Host, avoiding slow: String? = nil, now: Instant) -> String? {
    clock += 1
    guard var record = records[host] else { return nil }
    record.lastUse = clock
    defer { records[host] = record }
    record.entries.removeAll {
      $0.inFlight == 0 && now > $0.seenAt + Self.addressLifetime
    }
    guard record.entries.count > 1 else { return nil }
    let working = record.entries.indices.filter { index in
      let entry = record.entries[index]
      return entry.avoidUntil <= now && (entry.failures == 0 || entry.inFlight == 0)
    }
    let others = working.filter { record.entries[$0].address != slow }
    let best = (others.isEmpty ? working : others).min { left, right in
      let (a, b) = (record.entries[left], record.entries[right])
      return a.inFlight != b.inFlight ? a.inFlight < b.inFlight : a.lastUse > b.lastUse
    }
    guard let best else { return nil }
    record.entries[best].inFlight += 1
    record.entries[best].lastUse = clock
    return record.entries[best].address
  }

  /// The request that took `address` is over. `failed`: it could not be connected to.
  mutating func release(_ address: String, of host: Host, failed: Bool, now: Instant) {
    guard let index = records[host]?.entries.firstIndex(where: { $0.address == address }) else {
      return
    }
    records[host]!.entries[index].inFlight -= 1
    if failed {
      let factor = 1 << min(records[host]!.entries[index].failures, 4)
      records[host]!.entries[index].failures += 1
      records[host]!.entries[index].avoidUntil = now + Self.quarantine * factor
    } else {
      records[host]!.entries[index].failures = 0
    }
  }

  /// True if the name should be looked up now; the asker does so.
  mutating func mustLookUp(_ host: Host, now: Instant) -> Bool {
    if let record = records[host], now < record.askedAt + Self.refreshInterval { return false }
    if records[host] == nil, records.count >= Self.mostHosts { forgetOne() }
    records[host, default: Record(askedAt: now)].askedAt = now
    return true
  }

  private mutating func forgetOne() {
    let idle = records.filter { $0.value.entries.allSatisfy { $0.inFlight == 0 } }
    guard let oldest = idle.min(by: { $0.value.lastUse < $1.value.lastUse }) else { return }
    records[oldest.key] = nil
  }

  /// What the name has now. An empty answer changes nothing.
  mutating func lookedUp(_ host: Host, _ addresses: [String], now: Instant) {
    guard var record = records[host] else { return }
    for address in addresses {
      if let index = record.entries.firstIndex(where: { $0.address == address }) {
        record.entries[index].seenAt = now
      } else {
        record.entries.append(Entry(address: address, seenAt: now))
      }
    }
    while record.entries.count > Self.mostAddresses,
      let index = record.entries.indices.filter({ record.entries[$0].inFlight == 0 })
        .min(by: { record.entries[$0].seenAt < record.entries[$1].seenAt })
    {
      record.entries.remove(at: index)
    }
    records[host] = record
  }

  func addresses(of host: Host) -> [String] { records[host]?.entries.map(\.address) ?? [] }
}

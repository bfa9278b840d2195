import DequeModule

/// Which fetch goes next. Pure: it holds the fetches that wait and counts those under way.
///
/// Demand (a reader waits) goes before read-ahead, always.
struct FetchSchedule<Fetch: AnyObject> {
  let maxInFlight: Int
  /// Connections that a sequence may have: read-ahead keeps to one less, which is left to the demand
  /// that comes next. Where demand alone takes more, read-ahead goes on with half of them.
  var connections: Int
  /// Read-ahead that waits is bounded: the newest is refused, its reader will ask when it gets there.
  let maxAheadWaiting: Int

  private(set) var demandInFlight = 0
  private(set) var aheadInFlight = 0
  private var demand: Deque<Fetch> = []
  private var ahead: Deque<Fetch> = []
  /// Promoted before they were added: two threads that planned hand over in any order. Identities alone,
  /// and the last few: one that is never added must not be kept.
  private var promotedEarly: Deque<ObjectIdentifier> = []

  init(maxInFlight: Int, connections: Int, maxAheadWaiting: Int = 256) {
    self.maxInFlight = maxInFlight
    self.connections = connections
    self.maxAheadWaiting = maxAheadWaiting
  }

  var inFlight: Int { demandInFlight + aheadInFlight }
  var waiting: Int { demand.count + ahead.count }

  mutating func addDemand(_ fetch: Fetch) { demand.append(fetch) }

  /// False: too much read-ahead waits already.
  mutating func addAhead(_ fetch: Fetch) -> Bool {
    if let index = promotedEarly.firstIndex(of: ObjectIdentifier(fetch)) {
      promotedEarly.remove(at: index)
      addDemand(fetch)
      return true
    }
    guard ahead.count < maxAheadWaiting else { return false }
    ahead.append(fetch)
    return true
  }

  /// A reader has come to wait for a fetch that was read-ahead until now.
  mutating func promote(_ fetch: Fetch) {
    guard let index = ahead.firstIndex(where: { $0 === fetch }) else {
      if promotedEarly.count == Self.mostEarly { promotedEarly.removeFirst() }
      promotedEarly.append(ObjectIdentifier(fetch))
      return
    }
    ahead.remove(at: index)
    demand.append(fetch)
  }

  private static var mostEarly: Int { 64 }

  struct Turn {
    var fetch: Fetch
    var isDemand: Bool
  }

  /// Takes the next fetch; it counts as in flight until `ended`.
  mutating func next() -> Turn? {
    guard inFlight < maxInFlight else { return nil }
    if let fetch = demand.popFirst() {
      demandInFlight += 1
      return Turn(fetch: fetch, isDemand: true)
    }
    let isRoom = inFlight < connections - 1 || aheadInFlight < connections / 2
    guard isRoom, let fetch = ahead.popFirst() else { return nil }
    aheadInFlight += 1
    return Turn(fetch: fetch, isDemand: false)
  }

  /// Puts a turn back at the head of its queue: there was no memory for it.
  mutating func putBack(_ turn: Turn) {
    ended(isDemand: turn.isDemand)
    if turn.isDemand { demand.prepend(turn.fetch) } else { ahead.prepend(turn.fetch) }
  }

  mutating func ended(isDemand: Bool) {
    if isDemand { demandInFlight -= 1 } else { aheadInFlight -= 1 }
  }

  /// Empties both queues.
  mutating func removeAll() -> [Fetch] {
    defer {
      demand = []
      ahead = []
    }
    return Array(demand) + Array(ahead)
  }
}

import DequeModule

/// Which fetch goes next. Pure: it holds the fetches that wait and counts those under way.
///
/// Demand (a reader waits) goes before read-ahead, read-ahead before what is planned, and that before
/// fill, always.
struct FetchSchedule<Fetch: Schedulable> {
  let maxInFlight: Int
  /// Connections that a sequence may have: read-ahead keeps to one less, which is left to the demand
  /// that comes next. Where demand alone takes more, read-ahead goes on with half of them.
  var connections: Int
  /// Fill that may be in flight at once: what it is found to cost those who wait bounds it.
  var fillLimit: Int
  /// Read-ahead that waits is bounded: the newest is refused, its reader will ask when it gets there.
  let maxAheadWaiting: Int

  private var flying = [Int](repeating: 0, count: FetchRank.allCases.count)
  private var queues = [Deque<Fetch>](repeating: [], count: FetchRank.allCases.count)
  /// Ranges of sequences under way, by demand or ahead of it: they need the line.
  private var streamsInFlight = 0

  init(maxInFlight: Int, connections: Int, maxAheadWaiting: Int = 256) {
    self.maxInFlight = maxInFlight
    self.connections = connections
    self.maxAheadWaiting = maxAheadWaiting
    fillLimit = maxInFlight
  }

  var inFlight: Int { flying.reduce(0, +) }
  var waiting: Int { queues.reduce(0) { $0 + $1.count } }
  func inFlight(_ rank: FetchRank) -> Int { flying[rank.rawValue] }
  func waiting(_ rank: FetchRank) -> Int { queues[rank.rawValue].count }

  /// What planned fetches and fill leave to those who come to wait.
  private var backgroundLimit: Int { maxInFlight - maxInFlight / 8 }

  /// False: too much read-ahead waits already. Who plans and who fills bounds what they add themselves.
  mutating func add(_ fetch: Fetch, _ planned: FetchRank) -> Bool {
    // A reader may have come before it was added: two threads that planned hand over in any order.
    let rank = fetch.isPromoted ? .demand : planned
    if rank == .ahead, waiting(.ahead) >= maxAheadWaiting { return false }
    queues[rank.rawValue].append(fetch)
    return true
  }

  /// A reader has come to wait for a fetch that was less urgent until now, wherever that is: not added yet, in a
  /// queue, or out for its turn and perhaps put back.
  mutating func promote(_ fetch: Fetch) {
    guard !fetch.isPromoted else { return }
    fetch.isPromoted = true
    for rank in FetchRank.allCases.dropFirst() {
      guard let index = queues[rank.rawValue].firstIndex(where: { $0 === fetch }) else { continue }
      queues[rank.rawValue].remove(at: index)
      queues[FetchRank.demand.rawValue].append(fetch)
      return
    }
  }

  struct Turn {
    var fetch: Fetch
    var kind: FetchKind
    var rank: FetchRank { kind.rank }
  }

  /// Fetches that may be passed at once for want of memory, and how often each one may: by then what is in
  /// flight has ended, and its memory goes to the first.
  private static var mostPassed: Int { 8 }
  private static var mostPasses: Int { 32 }

  /// Takes the next fetch; it counts as in flight until `ended`. `isStream` tells whether it is one of
  /// several ranges of an object. `passing`: turns that lack memory; only demand may pass them.
  mutating func next(
    passing short: [Turn] = [], isStream: (Fetch) -> Bool = { _ in false }
  ) -> Turn? {
    if !short.isEmpty {
      let mayPass = short.allSatisfy {
        $0.rank == .demand && $0.fetch.passes < Self.mostPasses
      }
      guard mayPass, short.count < Self.mostPassed else { return nil }
    }
    for rank in FetchRank.allCases where mayGo(rank) && (short.isEmpty || rank == .demand) {
      guard let fetch = queues[rank.rawValue].popFirst() else { continue }
      let turn = Turn(fetch: fetch, kind: FetchKind(rank: rank, isStream: isStream(fetch)))
      began(turn.kind)
      return turn
    }
    return nil
  }

  private func mayGo(_ rank: FetchRank) -> Bool {
    let all = inFlight
    guard all < maxInFlight else { return false }
    switch rank {
    case .demand: return true
    case .ahead: return all < connections - 1 || inFlight(.ahead) < connections / 2
    case .planned: return inFlight(.planned) + inFlight(.fill) < backgroundLimit
    case .fill:
      return inFlight(.planned) + inFlight(.fill) < min(backgroundLimit, fillLimit)
        && streamsInFlight == 0
    }
  }

  private mutating func began(_ turn: FetchKind) {
    flying[turn.rank.rawValue] += 1
    if turn.isStream, turn.rank <= .ahead { streamsInFlight += 1 }
  }

  /// Puts turns back at the head of their queues, in order: there was no memory for them. `passedBy`: fetches
  /// that were started meanwhile.
  mutating func putBack(_ turns: [Turn], passedBy count: Int = 0) {
    for turn in turns.reversed() {
      ended(turn.kind)
      turn.fetch.passes += count
      let rank = turn.fetch.isPromoted ? .demand : turn.rank
      queues[rank.rawValue].prepend(turn.fetch)
    }
  }

  mutating func ended(_ turn: FetchKind) {
    flying[turn.rank.rawValue] -= 1
    if turn.isStream, turn.rank <= .ahead { streamsInFlight -= 1 }
  }

  /// Empties the queues.
  mutating func removeAll() -> [Fetch] {
    defer { queues = queues.map { _ in [] } }
    return queues.flatMap { Array($0) }
  }
}

/// What the schedule keeps on a fetch, under the lock that guards the schedule.
protocol Schedulable: AnyObject {
  /// A reader has come to wait for it.
  var isPromoted: Bool { get set }
  /// Fetches that were started before it while it lacked memory.
  var passes: Int { get set }
}

/// What a fetch counts as while it is under way.
struct FetchKind {
  var rank: FetchRank
  /// One of several ranges of its object.
  var isStream = false
}

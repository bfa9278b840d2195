import Posix

/// One request on the wire: an attempt of an exchange, or the hedge of one. The wire numbers them; a number is not
/// used again.
struct TransferID: Hashable, Sendable {
  let number: UInt64
}

/// The requests of one attempt: the first and, where that was slow, its hedge. Both run until one has the head of a
/// response; the attempt ends when neither runs any more.
struct TransferRace: Sendable {
  struct Leg: Sendable {
    let id: TransferID
    let startedAt: Instant
  }

  /// What the attempt is judged by.
  private(set) var first: Leg
  private(set) var hedge: Leg?
  /// Whichever of the two was answered first: the other is not listened to any more.
  private(set) var winner: TransferID?
  /// Whether `first` is alive.
  var watch: ProgressWatch

  init(_ first: Leg, watch: ProgressWatch) {
    self.first = first
    self.watch = watch
  }

  /// A hedged request is no longer an option: there is one, or the first was answered.
  var isDecided: Bool { hedge != nil || winner != nil }

  mutating func add(hedge: Leg) { self.hedge = hedge }

  /// The head of a response has come over `transfer`. False: the other was faster, or still runs while this one was
  /// refused: one server's bad moment must not end what another is about to answer.
  mutating func claim(_ transfer: TransferID, status: Int) -> Bool {
    if winner == nil, hedge == nil || status < 400 || status == 416 { winner = transfer }
    return winner == transfer
  }

  /// Drops the transfer that was answered later. Nil: there are not two, or neither was answered yet.
  mutating func dropLoser() -> (transfer: TransferID, hedgeWon: Bool)? {
    guard let hedge, let winner else { return nil }
    self.hedge = nil
    guard winner == hedge.id else { return (hedge.id, false) }
    let loser = first.id
    first = hedge
    return (loser, true)
  }

  /// One transfer has ended. True: the attempt goes on with the other.
  mutating func ended(_ transfer: TransferID) -> Bool {
    guard let hedge, winner != transfer else { return false }
    if transfer == first.id { first = hedge }
    self.hedge = nil
    return true
  }

  /// The first is given up: the hedge takes its place. Returns what was the first; nil: there is none to do so.
  mutating func replaceFirst() -> TransferID? {
    guard let hedge, winner == nil else { return nil }
    let given = first.id
    first = hedge
    self.hedge = nil
    return given
  }
}

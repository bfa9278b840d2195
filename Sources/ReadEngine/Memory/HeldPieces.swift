/// Decides which of the pieces that only memory holds is evicted first. Pure, except that callbacks report the state
/// of a piece.
///
/// `lru`: by second chance, in the order of arrival. `epoch`: what has been read and came last goes first,
/// for it comes last again; so an older part stays whole. What was not read yet waits behind (`ahead`) and
/// goes when nothing else is left, and only for a reader. What no longer comes back goes before all. Where it
/// is known when pieces are read next, the farthest of a sample goes.
///
/// A piece that goes costs a bounded number of looks, but for those that are looked at for the first time or
/// were gone already: of these there is one look a piece.
import DequeModule

struct HeldPieces<Piece> {
  private let policy: EvictionPolicy
  /// In the order of arrival.
  private var pieces: Deque<Piece> = []
  /// Those that had not been read when they were looked at.
  private var ahead: Deque<Piece> = []
  /// Where the next look for what is dead falls.
  private var cursor = 0

  /// Looks at pieces that may not go, for each one that does.
  private static var looks: Int { 8 }
  private static var sample: Int { 16 }

  init(_ policy: EvictionPolicy) { self.policy = policy }

  /// Pieces held, some of them perhaps gone by now.
  var count: Int { pieces.count + ahead.count }

  mutating func add(_ piece: Piece) { pieces.append(piece) }

  mutating func removeAll() {
    pieces.removeAll()
    ahead.removeAll()
  }

  /// Forgets those that are gone. `isHeld` is called once for each piece.
  mutating func tidy(_ isHeld: (Piece) -> Bool) {
    pieces.removeAll { !isHeld($0) }
    ahead.removeAll { !isHeld($0) }
  }

  /// Evicts `count`, or as many as may go; nothing at all if those are fewer than `least`. `look` says how a piece
  /// stands; `take` takes it out of memory, false if it must stay by then.
  mutating func evict(
    _ count: Int, atLeast least: Int = 1, for cause: HeldCause,
    using random: inout some RandomNumberGenerator,
    look: (Piece) -> HeldLook, take: (Piece) -> Bool
  ) -> Int {
    let chosen = choose(count, for: cause, using: &random, look)
    guard chosen.count >= least else {
      putBack(chosen)
      return 0
    }
    return chosen.reduce(0) { take($1) ? $0 + 1 : $0 }
  }

  /// Takes up to `count` that may go off the list.
  private mutating func choose(
    _ count: Int, for cause: HeldCause, using random: inout some RandomNumberGenerator,
    _ look: (Piece) -> HeldLook
  ) -> [Piece] {
    var chosen: [Piece] = []
    if policy == .lru {
      // Twice round at most: by then every second chance was used up.
      var looks = 2 * pieces.count
      while chosen.count < count, looks > 0, let piece = pieces.popFirst() {
        looks -= 1
        switch look(piece) {
        case .gone: break
        case .wanted: pieces.append(piece)
        case .read, .dead: chosen.append(piece)
        }
      }
      return chosen
    }
    while chosen.count < count, self.count > 0 {
      switch next(cause, using: &random, look) {
      case .none: return chosen
      case .gone: break
      case .piece(let piece): chosen.append(piece)
      }
    }
    return chosen
  }

  private mutating func putBack(_ chosen: [Piece]) {
    if policy == .lru {
      pieces.prepend(contentsOf: chosen)
    } else {
      pieces.append(contentsOf: chosen.reversed())
    }
  }

  private enum Next {
    case none
    /// One that must stay, or is gone: it is off the list.
    case gone
    case piece(Piece)
  }

  private mutating func next(
    _ cause: HeldCause, using random: inout some RandomNumberGenerator, _ look: (Piece) -> HeldLook
  ) -> Next {
    if let found = nextDead(look) { return found }
    if let found = farthest(for: cause, using: &random, look) { return found }
    for _ in 0..<min(Self.looks, ahead.count) {
      let piece = ahead.removeFirst()
      switch look(piece) {
      case .gone: break
      case .dead, .read: return .piece(piece)
      case .wanted: ahead.append(piece)
      }
    }
    while let piece = pieces.popLast() {
      switch look(piece) {
      case .gone: break
      case .dead, .read: return .piece(piece)
      case .wanted: ahead.append(piece)
      }
    }
    guard case .reader = cause, let piece = ahead.popFirst() else { return .none }
    return look(piece) == .gone ? .gone : .piece(piece)
  }

  private mutating func nextDead(_ look: (Piece) -> HeldLook) -> Next? {
    for _ in 0..<min(2, pieces.count) {
      cursor = cursor + 1 < pieces.count ? cursor + 1 : 0
      let found = look(pieces[cursor])
      if found == .dead { return .piece(remove(at: cursor)) }
      if found == .gone {
        _ = remove(at: cursor)
        return .gone
      }
    }
    return nil
  }

  /// Nil if it is unknown when pieces are read.
  private mutating func farthest(
    for cause: HeldCause, using random: inout some RandomNumberGenerator,
    _ look: (Piece) -> HeldLook
  ) -> Next? {
    var best: (place: Int, distance: Int)?
    var isOrdered = false
    for turn in 0..<Self.sample {
      // The newest, the longest awaited, and any: a place in both one after the other.
      let place =
        switch turn {
        case 0: pieces.count - 1
        case 1: pieces.count
        default: Int.random(in: 0..<count, using: &random)
        }
      if turn == 2, !isOrdered { return nil }
      guard place >= 0, place < count else { continue }
      switch look(place < pieces.count ? pieces[place] : ahead[place - pieces.count]) {
      case .gone:
        _ = remove(at: place)
        return .gone
      case .dead: return .piece(remove(at: place))
      case .read: if best.map({ $0.distance < .max }) ?? true { best = (place, .max) }
      case .wanted(nil): break
      case .wanted(let known?):
        isOrdered = true
        if best.map({ $0.distance < known }) ?? true { best = (place, known) }
      }
    }
    guard let best else { return nil }
    if case .ahead(let ours?) = cause, best.distance <= ours { return nil }
    return .piece(remove(at: best.place))
  }

  private mutating func remove(at place: Int) -> Piece {
    if place >= pieces.count {
      let index = place - pieces.count
      ahead.swapAt(index, ahead.count - 1)
      return ahead.removeLast()
    }
    pieces.swapAt(place, pieces.count - 1)
    return pieces.removeLast()
  }
}

/// What a look at a piece found.
enum HeldLook: Equatable {
  /// Not in memory any more, or it must stay: its holder puts it on the list again when it may be evicted.
  case gone
  /// Of a file that was not opened for as long as anything takes to come back.
  case dead
  /// It was read, as often as it will be for now.
  case read
  /// A reader may be about to read it. `nextUse`: number of files that are read before it, nil if unknown.
  case wanted(nextUse: Int?)
}

/// Whom room is made for.
enum HeldCause {
  /// A reader waits: whatever there is may go in the last resort.
  case reader
  /// Read-ahead. `nextUse`: number of files that are read before it, nil if unknown.
  case ahead(nextUse: Int?)
}

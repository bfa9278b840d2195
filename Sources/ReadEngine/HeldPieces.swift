/// Which of the pieces that memory alone holds goes first. Pure but for what it is told when it looks at one.
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

  /// Forgets those that are gone. `isHeld`: told once a piece.
  mutating func tidy(_ isHeld: (Piece) -> Bool) {
    pieces.removeAll { !isHeld($0) }
    ahead.removeAll { !isHeld($0) }
  }

  /// Lets `count` go, or as many as may. `look` says how a piece stands; `take` takes it out of memory, false if it is gone by then.
  mutating func evict(
    _ count: Int, for cause: HeldCause, using random: inout some RandomNumberGenerator,
    look: (Piece) -> HeldLook, take: (Piece) -> Bool
  ) -> Int {
    var freed = 0
    if policy == .lru {
      // Twice round at most: by then every second chance was used up.
      var looks = 2 * pieces.count
      while freed < count, looks > 0, let piece = pieces.popFirst() {
        looks -= 1
        switch look(piece) {
        case .gone: break
        case .wanted: pieces.append(piece)
        case .read, .dead: if take(piece) { freed += 1 }
        }
      }
      return freed
    }
    while freed < count, self.count > 0 {
      guard let piece = next(cause, using: &random, look) else { break }
      if take(piece) { freed += 1 }
    }
    return freed
  }

  private mutating func next(
    _ cause: HeldCause, using random: inout some RandomNumberGenerator, _ look: (Piece) -> HeldLook
  ) -> Piece? {
    if let piece = nextDead(look) { return piece }
    if let piece = farthest(for: cause, using: &random, look) { return piece }
    for _ in 0..<min(Self.looks, ahead.count) {
      let piece = ahead.removeFirst()
      switch look(piece) {
      case .gone: break
      case .dead, .read: return piece
      case .wanted: ahead.append(piece)
      }
    }
    while let piece = pieces.popLast() {
      switch look(piece) {
      case .gone: break
      case .dead, .read: return piece
      case .wanted: ahead.append(piece)
      }
    }
    if case .reader = cause { return ahead.popFirst() }
    return nil
  }

  private mutating func nextDead(_ look: (Piece) -> HeldLook) -> Piece? {
    for _ in 0..<min(2, pieces.count) {
      cursor = cursor + 1 < pieces.count ? cursor + 1 : 0
      let found = look(pieces[cursor])
      if found == .dead || found == .gone { return remove(at: cursor) }
    }
    return nil
  }

  /// Nil if nobody said when pieces are read.
  private mutating func farthest(
    for cause: HeldCause, using random: inout some RandomNumberGenerator,
    _ look: (Piece) -> HeldLook
  ) -> Piece? {
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
      case .gone, .dead: return remove(at: place)
      case .read: if best.map({ $0.distance < .max }) ?? true { best = (place, .max) }
      case .wanted(nil): break
      case .wanted(let known?):
        isOrdered = true
        if best.map({ $0.distance < known }) ?? true { best = (place, known) }
      }
    }
    guard let best else { return nil }
    if case .ahead(let ours?) = cause, best.distance <= ours { return nil }
    return remove(at: best.place)
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
  /// Not in memory any more.
  case gone
  /// Of a file that was not opened for as long as anything takes to come back.
  case dead
  /// It was read, as often as it will be for now.
  case read
  /// Somebody may be about to read it. `nextUse`: files that are read before it, nil if nobody said.
  case wanted(nextUse: Int?)
}

/// Whom room is made for.
enum HeldCause {
  /// A reader waits: whatever there is may go in the last resort.
  case reader
  /// Read-ahead. `nextUse`: files that are read before it, nil if nobody said.
  case ahead(nextUse: Int?)
}

/// Which bytes to ask the store for when a read finds some missing.
import ObjectStore

extension ObjectState {
  struct Plan {
    var fetches: [ObjectFetch] = []
    /// Read-ahead that waits in the queue and that a reader now needs.
    var promoted: [ObjectFetch] = []

    var isEmpty: Bool { fetches.isEmpty && promoted.isEmpty }
  }

  /// Fetches for what is missing of `bytes`, and of what `outlook` says of their sequence. A read that is no part
  /// of a sequence gets exactly its pieces; a small object is fetched whole.
  mutating func plan(
    for bytes: Range<UInt64>, _ outlook: StreamTracker.Outlook, on link: LinkTerms,
    of object: CachedObject
  ) -> Plan {
    var plan = Plan()
    if isSmall {
      planDemand(0..<pieceCount, upTo: pieceCount, chunk: pieceCount, of: object, &plan)
      return plan
    }
    let pieces = Geometry.pieces(covering: bytes)
    let target = Geometry.pieces(
      covering: bytes.lowerBound..<min(bytes.upperBound + outlook.ahead, version.size)
    ).upperBound
    let sizes = RequestSizes(objectSize: version.size, ahead: outlook.ahead, link: link)
    let first = sizes.pieces(at: pieces.upperBound)
    planDemand(pieces, upTo: target, chunk: first, of: object, &plan)
    // Looking at every piece of the window at each read would cost more than the read.
    let start = max(pieces.upperBound, Int(outlook.planned) / Geometry.pieceSize)
    let end = planAhead(from: start, upTo: target, sizes, of: object, &plan)
    if outlook.ahead > 0 { streams.planned(upTo: Geometry.start(ofPiece: end)) }
    return plan
  }

  private mutating func planDemand(
    _ pieces: Range<Int>, upTo target: Int, chunk: Int, of object: CachedObject, _ plan: inout Plan
  ) {
    var piece = pieces.lowerBound
    while piece < pieces.upperBound {
      if let fetch = fetch(covering: piece) {
        if !fetch.hasBegun, fetch.rank != .demand, !plan.promoted.contains(where: { $0 === fetch })
        {
          plan.promoted.append(fetch)
        }
        piece = fetch.pieces.upperBound
        continue
      }
      if isHere(piece) {
        piece += 1
        continue
      }
      let neededEnd = endOfGap(from: piece, upTo: pieces.upperBound)
      var end = neededEnd
      if neededEnd == pieces.upperBound, target > neededEnd {
        end = max(neededEnd, endOfGap(from: piece, upTo: min(piece + chunk, target)))
      }
      add(piece..<end, .demand, of: object, &plan)
      piece = end
    }
  }

  /// Returns the first piece that was left for later.
  private mutating func planAhead(
    from start: Int, upTo target: Int, _ sizes: RequestSizes, of object: CachedObject,
    _ plan: inout Plan
  ) -> Int {
    var piece = start
    while piece < target {
      if let fetch = fetch(covering: piece) {
        piece = fetch.pieces.upperBound
        continue
      }
      if isHere(piece) {
        piece += 1
        continue
      }
      let chunk = sizes.pieces(at: piece)
      let end = endOfGap(from: piece, upTo: min(piece + chunk, target))
      // Not in crumbs: the rest of a window waits until it is worth a request of its own.
      let isWorthIt = end - piece >= chunk || end == pieceCount || end < target
      guard isWorthIt else { return piece }
      add(piece..<end, .ahead, of: object, &plan)
      piece = end
    }
    return piece
  }

  private mutating func add(
    _ pieces: Range<Int>, _ rank: FetchRank, of object: CachedObject, _ plan: inout Plan
  ) {
    let fetch = ObjectFetch(of: object, pieces: pieces, rank: rank)
    fetches.append(fetch)
    plan.fetches.append(fetch)
  }

  /// Fetches for what is missing of `pieces`, at most `limit`. Returns where it stopped.
  mutating func planPrefetch(
    _ pieces: Range<Int>, limit: Int, chunk: Int, for run: PrefetchRun, of object: CachedObject,
    _ plan: inout Plan
  ) -> Int {
    var piece = pieces.lowerBound
    while piece < pieces.upperBound, plan.fetches.count < limit {
      if let fetch = fetch(covering: piece) {
        piece = max(piece + 1, fetch.pieces.upperBound)
        continue
      }
      if isHere(piece) {
        piece += 1
        continue
      }
      let most = isSmall ? pieceCount : min(piece + chunk, pieces.upperBound)
      let end = endOfGap(from: piece, upTo: most)
      let fetch = ObjectFetch(
        of: object, pieces: piece..<end, rank: run.rank, run: run)
      fetches.append(fetch)
      plan.fetches.append(fetch)
      piece = end
    }
    return piece
  }

  private func fetch(covering piece: Int) -> ObjectFetch? {
    fetches.first { $0.pieces.contains(piece) }
  }

  private mutating func isHere(_ piece: Int) -> Bool {
    memory[piece] != nil || presence.isPresent(piece)
  }

  /// The end of the run of pieces from `piece` on that are neither here nor on their way.
  private mutating func endOfGap(from piece: Int, upTo limit: Int) -> Int {
    var end = piece
    while end < limit, !isHere(end), fetch(covering: end) == nil { end += 1 }
    return end
  }
}

/// What the requests of a sequence ask for: no more than a connection's share of a young sequence's
/// window, so that all work on it at once; and towards the end of the object ever less, so that all
/// are done at once.
struct RequestSizes {
  var objectSize: UInt64
  /// Bytes that the sequence is worth reading ahead.
  var ahead: UInt64
  var link: LinkTerms

  /// Of those near the object's end, bytes.
  static let leastLast = 4 << 20

  /// Of any, bytes: what a connection brings while one waits for a first byte, or half of its time
  /// would be waiting.
  private var least: Int { max(1 << 20, Int(link.pipe) / max(1, link.connections)) }

  func pieces(at piece: Int) -> Int {
    let connections = max(1, link.connections)
    let share = max(least, Int(ahead) / connections)
    let left = Int(objectSize - min(Geometry.start(ofPiece: piece), objectSize))
    let last = max(Self.leastLast, left / connections)
    return max(1, min(link.range, share, last) / Geometry.pieceSize)
  }
}

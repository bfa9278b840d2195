/// Which bytes to ask the store for: of a read what is missing, of its sequence what is worth reading ahead, of a
/// prefetch what it lacks.
///
/// Pure. Pieces in segments of records that were not read yet are never asked for: the plan ends before the first of
/// them and names it.
struct ReadPlanner {
  let size: UInt64
  let memory: ObjectMemory
  let presence: PresenceMap

  private var pieceCount: Int { memory.pieceCount }
  private var isSmall: Bool { memory.isSmall }

  /// Fetches for what is missing of `bytes`, and of what `hint` says of their sequence. A read that is no part
  /// of a sequence gets exactly its pieces; a small object is fetched whole.
  func plan(
    for bytes: Range<UInt64>, _ hint: StreamTracker.Outlook, on network: LinkTerms,
    _ fetches: inout FetchList
  ) -> ReadPlan {
    var plan = ReadPlan()
    if isSmall {
      planDemand(0..<pieceCount, upTo: pieceCount, chunk: pieceCount, &fetches, &plan)
      return plan
    }
    let pieces = Geometry.pieces(covering: bytes)
    let target = Geometry.pieces(
      covering: bytes.lowerBound..<min(bytes.upperBound + hint.ahead, size)
    ).upperBound
    let sizes = RequestSizes(objectSize: size, ahead: hint.ahead, link: network)
    let first = sizes.pieces(at: pieces.upperBound)
    planDemand(pieces, upTo: target, chunk: first, &fetches, &plan)
    // Visiting every piece of the window at each read would cost more than the read.
    let start = max(pieces.upperBound, Int(hint.planned) / Geometry.pieceSize)
    let end = planAhead(from: start, upTo: target, sizes, &fetches, &plan)
    if hint.ahead > 0 { plan.plannedUpTo = Geometry.start(ofPiece: end) }
    return plan
  }

  private func planDemand(
    _ pieces: Range<Int>, upTo target: Int, chunk: Int, _ fetches: inout FetchList,
    _ plan: inout ReadPlan
  ) {
    var piece = pieces.lowerBound
    while piece < pieces.upperBound {
      if let fetch = fetches.covering(piece) {
        if !fetch.hasBegun, fetch.rank != .demand, !plan.promoted.contains(fetch.id) {
          plan.promoted.append(fetch.id)
        }
        piece = fetch.pieces.upperBound
        continue
      }
      if isHere(piece) {
        piece += 1
        continue
      }
      let neededEnd = endOfGap(from: piece, upTo: pieces.upperBound, fetches)
      var end = neededEnd
      if neededEnd == pieces.upperBound, target > neededEnd {
        end = max(neededEnd, endOfGap(from: piece, upTo: min(piece + chunk, target), fetches))
      }
      plan.fetches.append(fetches.add(piece..<end, .demand, isPrefetch: false))
      piece = end
    }
  }

  /// Returns the first piece that was left for later.
  private func planAhead(
    from start: Int, upTo target: Int, _ sizes: RequestSizes, _ fetches: inout FetchList,
    _ plan: inout ReadPlan
  ) -> Int {
    var piece = start
    while piece < target {
      if let fetch = fetches.covering(piece) {
        piece = fetch.pieces.upperBound
        continue
      }
      guard presence.isKnown(piece) || memory.isHeld(piece) else {
        plan.unknown = piece
        return piece
      }
      if isHere(piece) {
        piece += 1
        continue
      }
      let chunk = sizes.pieces(at: piece)
      let end = endOfGap(from: piece, upTo: min(piece + chunk, target), fetches)
      // Not in crumbs: the rest of a window waits until it is worth a request of its own.
      let isWorthIt = end - piece >= chunk || end == pieceCount || end < target
      guard isWorthIt else { return piece }
      plan.fetches.append(fetches.add(piece..<end, .ahead, isPrefetch: false))
      piece = end
    }
    return piece
  }

  /// Fetches for what is missing of `pieces`, at most `limit` of up to `chunk` pieces each. The plan says where it
  /// stopped.
  func planPrefetch(
    _ pieces: Range<Int>, limit: Int, chunk: Int, _ rank: FetchRank, _ fetches: inout FetchList
  ) -> PrefetchPlan {
    var plan = PrefetchPlan(next: pieces.lowerBound)
    while plan.next < pieces.upperBound, plan.fetches.count < limit {
      let piece = plan.next
      if let fetch = fetches.covering(piece) {
        plan.next = max(piece + 1, fetch.pieces.upperBound)
        continue
      }
      guard presence.isKnown(piece) || memory.isHeld(piece) else {
        plan.unknown = piece
        break
      }
      if isHere(piece) {
        plan.next = piece + 1
        continue
      }
      let most = isSmall ? pieceCount : min(piece + chunk, pieces.upperBound)
      let end = endOfGap(from: piece, upTo: most, fetches)
      plan.fetches.append(fetches.add(piece..<end, rank, isPrefetch: true))
      plan.next = end
    }
    return plan
  }

  private func isHere(_ piece: Int) -> Bool { memory.isHeld(piece) || presence.isPresent(piece) }

  /// The end of the run of pieces from `piece` on that are neither here nor on their way, as far as that is known.
  private func endOfGap(from piece: Int, upTo limit: Int, _ fetches: FetchList) -> Int {
    var end = piece
    while end < limit, presence.isKnown(end), !isHere(end), fetches.covering(end) == nil {
      end += 1
    }
    return end
  }
}

/// What is to be asked of the store for a read.
struct ReadPlan {
  var fetches: [FetchPlan] = []
  /// Read-ahead that waits in the queue and that a reader now needs.
  var promoted: [FetchID] = []
  /// Up to here the sequence needs no further plan, bytes.
  var plannedUpTo: UInt64?
  /// Where it ends because records were not read yet.
  var unknown: Int?
}

/// What is to be asked of the store for a prefetch.
struct PrefetchPlan {
  var fetches: [FetchPlan] = []
  /// The first piece that was left for later.
  var next: Int
  /// It stopped because the records of this piece were not read yet.
  var unknown: Int?
}

/// How the pages of one directory are requested: one after the other, and in several parts side by side where it turns
/// out to be large and the store can begin a listing at any name.
///
/// Pure. Parts follow each other in the order of names, each from a guessed name to that of the next;
/// the last is open. Parts are made a few pages long, so that pages arrive about in order and few of
/// them wait for those before. There are as many as pages came that were worth it: a guess that
/// meets nothing halves their number.
struct ListingPlan {
  /// Requests in flight.
  static let widthLimit = 32
  /// Pages a part should have: less wastes requests at the seams, more makes readers wait.
  static let pagesPerPart = 4
  /// Pages that may wait for those before them.
  static let heldLimit = 128

  struct Fetch: Equatable {
    var part: Int
    /// Names after this one.
    var after: [UInt8]?
    var cursor: String?
  }

  /// What of a page came.
  struct Page {
    /// Below the folder, "/" included, in order.
    var first: [UInt8]
    var last: [UInt8]
    var count: Int
    var next: String?
  }

  struct Arrival {
    /// False: the page is of no use.
    var isKept = true
    /// Names after this one belong to the next part.
    var end: [UInt8]?
    var fetches: [Fetch] = []
    /// The store began at the requested position; nil: not known yet.
    var beginsAnywhere: Bool?
  }

  private struct Part {
    var after: [UInt8]?
    var end: [UInt8]?
    var cursor: String?
    var last: [UInt8]?
    var pages = 0
    var isInFlight = true
    var isDone = false
  }

  private var parts: [Part] = [Part()]
  private var width = 1
  private var spacing: KeyspacePartitioner?
  /// Of a page, in numbers of `spacing`.
  private var stride: UInt128 = 0
  /// Whether the store is known to begin at the requested position.
  private var isTrusted: Bool
  private var maySplit: Bool

  init(maySplit: Bool, isTrusted: Bool) {
    self.maySplit = maySplit
    self.isTrusted = isTrusted
  }

  var begin: Fetch { Fetch(part: 0) }
  var isComplete: Bool { parts.allSatisfy(\.isDone) }
  func isDone(_ part: Int) -> Bool { parts[part].isDone }
  var count: Int { parts.count }

  /// No more parts are made: what follows is asked for in sequence.
  mutating func stopSplitting() { maySplit = false }

  /// `sample`: names of the page, a few dozen in order; of the first page alone they are used.
  /// `held`: pages that wait for those before them.
  mutating func arrived(
    _ number: Int, _ page: Page, sample: () -> [[UInt8]], held: Int
  ) -> Arrival {
    var arrival = Arrival()
    guard number < parts.count else { return Arrival(isKept: false) }
    parts[number].isInFlight = false
    parts[number].pages += 1
    if let after = parts[number].after, parts[number].pages == 1 {
      if page.count > 0, !after.lexicographicallyPrecedes(page.first) {
        giveUp(from: number)
        return Arrival(isKept: false, beginsAnywhere: false)
      }
      if !isTrusted {
        isTrusted = page.count > 0
        arrival.beginsAnywhere = isTrusted ? true : nil
      }
      width =
        page.count > 0 && isWithin(page.first, parts[number].end)
        ? min(Self.widthLimit, width * 2) : max(1, width / 2)
    }
    if number == 0, parts[0].pages == 1, page.next != nil, maySplit {
      spacing = KeyspacePartitioner(sample())
      width = 2
    }
    if page.count > 0 { parts[number].last = page.last }
    var end = parts[number].end
    if end != nil, !isTrusted {
      // The next part has not shown yet that it begins where it should: so this one goes on, and
      // if it gets there first the next is not needed.
      if !isWithin(page.last, end) || page.next == nil {
        giveUp(from: number + 1)
      }
      end = nil
    }
    arrival.end = end
    let reached = end != nil && page.count > 0 && !isWithin(page.last, end)
    if page.next == nil || reached {
      parts[number].isDone = true
    } else {
      parts[number].cursor = page.next
      parts[number].isInFlight = true
      arrival.fetches.append(Fetch(part: number, after: nil, cursor: page.next))
    }
    measure(page)
    if number == parts.count - 1 || parts.last!.pages > 0 { split(held, &arrival) }
    return arrival
  }

  private func isWithin(_ name: [UInt8], _ end: [UInt8]?) -> Bool {
    guard let end else { return true }
    return !end.lexicographicallyPrecedes(name)
  }

  /// Parts from `number` on are forgotten; what is before them goes on to the end.
  private mutating func giveUp(from number: Int) {
    parts.removeSubrange(number...)
    parts[number - 1].end = nil
    maySplit = false
  }

  private mutating func measure(_ page: Page) {
    guard let spacing, page.count > 1 else { return }
    let low = spacing.value(page.first)
    let high = spacing.value(page.last)
    guard high > low else { return }
    // Half of the new, half of the old: folders are denser in some places.
    stride = stride == 0 ? high - low : (stride + high - low) / 2
  }

  /// Cuts parts off the last, open one.
  private mutating func split(_ held: Int, _ arrival: inout Arrival) {
    guard maySplit, let spacing, stride > 0, held < Self.heldLimit else { return }
    var inFlight = parts.count { $0.isInFlight }
    guard let tail = parts.last, !tail.isDone, let last = tail.last ?? tail.after else { return }
    let ahead = UInt128(max(1, Self.pagesPerPart - tail.pages))
    var value = spacing.value(last) + stride * ahead
    while inFlight < width, let name = spacing.name(value) {
      guard last.lexicographicallyPrecedes(name) else { return }
      parts[parts.count - 1].end = name
      parts.append(Part(after: name))
      arrival.fetches.append(Fetch(part: parts.count - 1, after: name))
      inFlight += 1
      if !isTrusted { return }
      value += stride * UInt128(Self.pagesPerPart)
    }
  }
}

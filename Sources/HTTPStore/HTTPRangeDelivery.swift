import Formats
import ObjectStore
import Transport

/// Decides which bytes of which response belong to a fetch. A value: it is given heads and counts,
/// and returns what to do.
///
/// A version is known by the strong ETag that `head` saw, else by size and Last-Modified. Whatever
/// is known of it is compared with every reply, and has to be in it; the first strong ETag that a reply has also binds
/// all that is fetched of the version later. A weak ETag promises no equal bytes and is left out.
struct HTTPRangeDelivery {
  let version: ObjectVersion
  let range: Range<UInt64>
  /// The version's time is the server's Last-Modified (a manifest's may be another clock's).
  let comparesTime: Bool
  /// The version's time may be a whole minute where the server's has seconds.
  let timesAreMinutes: Bool

  private(set) var delivered: UInt64 = 0
  /// The server sent the whole file: what comes before the range is dropped.
  private(set) var ignoresRanges = false
  private var toSkip: UInt64 = 0
  private(set) var etag: String?

  /// `learnt`: the ETag of an earlier reply, where the version does not say one.
  init(
    version: ObjectVersion, range: Range<UInt64>, comparesTime: Bool,
    timesAreMinutes: Bool = false, learnt: String? = nil
  ) {
    self.version = version
    self.range = range
    self.comparesTime = comparesTime
    self.timesAreMinutes = timesAreMinutes
    etag = version.etag.hasPrefix("\"") ? version.etag : learnt
  }

  /// The whole file is wanted, and nothing of it is there yet.
  var isAtStartOfWhole: Bool { delivered == 0 && range == 0..<version.size }

  /// What came is void.
  mutating func restart() { delivered = 0 }

  enum Refusal: Error, Equatable {
    case changed(String)
    case badReply(String)
  }

  var position: UInt64 { range.lowerBound + delivered }
  var remaining: UInt64 { range.upperBound - min(position, range.upperBound) }
  var isComplete: Bool { position >= range.upperBound }

  var requestHeaders: [(name: String, value: String)] {
    var headers = [(name: "Range", value: "bytes=\(position)-\(range.upperBound - 1)")]
    // Not with a date: the reply may then leave out Last-Modified, which is what is compared.
    if let etag { headers.append((name: "If-Range", value: etag)) }
    return headers
  }

  /// A reply of 200 or 206 begins.
  mutating func accept(_ head: HTTPResponseHead) throws(Refusal) {
    if let coding = head["content-encoding"], coding.lowercased() != "identity" {
      throw .badReply("the server sends the file compressed (\(coding))")
    }
    if head.status == 206 {
      guard let sent = head["content-range"].flatMap(ContentRange.init) else {
        throw .badReply("a partial response without a valid Content-Range")
      }
      try checkSize(sent.total)
      guard sent.range.lowerBound == position, sent.range.upperBound <= range.upperBound else {
        throw .badReply(
          "bytes \(sent.range.lowerBound)-\(sent.range.upperBound - 1) came where "
            + "\(position)-\(range.upperBound - 1) were requested")
      }
      toSkip = 0
    } else {
      try checkSize(head["content-length"].flatMap { ObjectSize.parse($0) })
      toSkip = position
    }
    try checkValidators(head)
    if head.status == 200, range != 0..<version.size { ignoresRanges = true }
  }

  /// `count` bytes came: those of them to hand on.
  mutating func take(_ count: Int) -> Range<Int> {
    let skipped = min(toSkip, UInt64(count))
    toSkip -= skipped
    let left = range.upperBound - position
    let taken = min(UInt64(count) - skipped, left)
    delivered += taken
    return Int(skipped)..<Int(skipped + taken)
  }

  /// The reply's ETag where it is strong.
  static func strongETag(_ head: HTTPResponseHead) -> String? {
    head["etag"].flatMap { $0.hasPrefix("\"") ? $0 : nil }
  }

  private func checkSize(_ size: UInt64?) throws(Refusal) {
    if let size, size != version.size {
      throw .changed("the file changed: \(size) bytes, \(version.size) when it was looked up")
    }
  }

  private mutating func checkValidators(_ head: HTTPResponseHead) throws(Refusal) {
    if let etag {
      guard let sent = head["etag"] else {
        throw .badReply("a response without an ETag; earlier ones had \(etag)")
      }
      let bare = sent.hasPrefix("W/") ? String(sent.dropFirst(2)) : sent
      guard bare == etag else { throw .changed("the file changed: ETag \(sent), was \(etag)") }
      return
    }
    if comparesTime, version.modified != 0,
      let modified = head["last-modified"].flatMap(UTCTime.http),
      !ListedTimes.isSame(modified, asListed: version.modified, inMinutes: timesAreMinutes)
    {
      throw .changed(
        "the file changed: modified at \(modified), at \(version.modified) when it was "
          + "looked up (seconds since 1970)")
    }
    etag = etag ?? Self.strongETag(head)
  }
}

import Formats
import ObjectStore
import Transport

/// How far the fetch of a range has come, and whether an answer is what was asked for. Pure: the exchange
/// round it holds the lock and calls the sink.
struct S3FetchProgress {
  let version: ObjectVersion
  let range: Range<UInt64>
  /// Bytes handed to the sink, over all attempts.
  private(set) var delivered: UInt64 = 0
  /// The object's MD5 is taken from its ETag.
  private let verifiesETag: Bool
  /// What the store says of the whole object; `nil` where it says nothing or a part is fetched.
  private(set) var checksum: StoreChecksum?
  /// Contents that did not fit their checksum.
  private(set) var mismatches = 0

  init(version: ObjectVersion, range: Range<UInt64>, verifiesETag: Bool = false) {
    self.version = version
    self.range = range
    self.verifiesETag = verifiesETag
  }

  private var isWhole: Bool {
    range == 0..<version.size && version.size <= StoreChecksum.verifiedSize
  }

  var position: UInt64 { range.lowerBound + delivered }
  var remaining: UInt64 { range.upperBound - position }
  var isComplete: Bool { position == range.upperBound }

  /// A small object is asked for without a range: stores give checksums for whole objects alone.
  var headers: [(name: String, value: String)] {
    var headers: [(name: String, value: String)] =
      isWhole && position == 0
      ? [("x-amz-checksum-mode", "ENABLED")]
      : [("range", "bytes=\(position)-\(range.upperBound - 1)")]
    // If-Match compares strongly: a weak tag would never match.
    if version.etag.hasPrefix("\"") { headers.append(("if-match", version.etag)) }
    return headers
  }

  enum Judgement: Equatable {
    case good
    case changed(String)
    case bad(String)
  }

  /// Whether the body of a success may be taken. ETag and total are compared although If-Match was sent:
  /// some stores ignore it.
  func judge(_ head: HTTPResponseHead) -> Judgement {
    if !version.etag.isEmpty {
      guard let etag = head["etag"] else { return .bad("a response without an ETag") }
      if !EntityTag.areEqual(etag, version.etag) { return .changed("its ETag differs") }
    } else if version.modified != 0,
      let modified = head["last-modified"].flatMap(UTCTime.http), modified != version.modified
    {
      return .changed("it was modified since")
    }
    let length: UInt64
    // rclone serve s3 answers a range with 200 and a Content-Range: taken only with a Content-Length that
    // shows that the range came, and not the whole.
    let isPartial200 = head.status == 200 && head["content-range"] != nil
    if isPartial200, head["content-length"] == nil {
      return .bad("a partial response without a Content-Length")
    }
    if head.status == 206 || isPartial200 {
      // A total of "*" is no answer to a check.
      guard let sent = head["content-range"].flatMap(ContentRange.init), let total = sent.total
      else { return .bad("a partial response without a Content-Range") }
      if total != version.size { return otherSize(total) }
      guard sent.range == position..<range.upperBound else {
        return .bad(
          "bytes \(sent.range.lowerBound)-\(sent.range.upperBound - 1) came where "
            + "\(position)-\(range.upperBound - 1) were asked for")
      }
      length = range.upperBound - position
    } else {
      // A 200 is the whole object: right only where that is what was asked for.
      if let text = head["content-length"], ObjectSize.parse(text) != version.size {
        return otherSize(ObjectSize.parse(text))
      }
      guard position == 0, range.upperBound == version.size else {
        return .bad("the store ignores the Range header")
      }
      length = version.size
    }
    if let text = head["content-length"], ObjectSize.parse(text) != length {
      return .bad("a Content-Length of \(text) for \(length) bytes")
    }
    return .good
  }

  /// With the ETag that is right it is no other version, but an answer that contradicts itself.
  private func otherSize(_ size: UInt64?) -> Judgement {
    version.etag.isEmpty
      ? .changed("its size differs")
      : .bad(
        "\(size.map(String.init) ?? "an unreadable number of") bytes under the ETag of \(version.size)"
      )
  }

  /// The body of a good answer comes now. True: it is verified, and counts from its start and as a whole.
  mutating func begin(_ head: HTTPResponseHead) -> Bool {
    guard isWhole, position == 0 else { return false }
    if let stated = StoreChecksum(head, takesETag: verifiesETag) {
      checksum = stated
    } else {
      // After a mismatch what was stated before holds.
      checksum?.restart()
    }
    return checksum != nil
  }

  /// False: more than was asked for.
  mutating func take(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard UInt64(bytes.count) <= range.upperBound - position else { return false }
    checksum?.update(bytes)
    delivered += UInt64(bytes.count)
    return true
  }

  enum End: Equatable {
    case good
    /// The content is not what the store says it is.
    case mismatch(String)
  }

  /// Every byte has come. After a mismatch the fetch is at its start again.
  mutating func end() -> End {
    guard let checksum, !checksum.holds else { return .good }
    mismatches += 1
    delivered = 0
    return .mismatch(checksum.algorithm.rawValue)
  }
}

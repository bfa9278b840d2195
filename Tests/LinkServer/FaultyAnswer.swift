import Glibc

/// An answer with one thing wrong in it. Returns as `Answerer.answer` does: false, the connection is of no
/// more use.
struct FaultyAnswer {
  let server: LinkServer
  let request: Request
  let conversation: Conversation
  let bucket: String
  let key: [UInt8]

  /// `nil`: the usual answer is given, later or slower.
  func answer(_ fault: Fault) -> Bool? {
    switch fault {
    case .late, .slow: return nil
    case .silence: return hangOn()
    case .status(let status, let code, let retryAfter):
      let more = retryAfter.map { "Retry-After: \($0)\r\n" } ?? ""
      return error(status, code, more: more)
    case .errorAfter200: return error(200, "InternalError")
    case .skewedClock(let seconds): return skewed(seconds)
    case .garbage: return reply(200, SyntheticBytes.shared.bytes(0..<5000))
    case .endlessListing: return endless()
    case .loopingToken:
      let token = request["continuation-token"] ?? "t"
      return listing(
        "<IsTruncated>true</IsTruncated><NextContinuationToken>\(token)</NextContinuationToken>")
    case .manyPrefixes(let count):
      let prefix = request["prefix"] ?? ""
      let all = (0..<count).map {
        "<CommonPrefixes><Prefix>\(prefix)folder-\($0)/</Prefix></CommonPrefixes>"
      }
      return listing("<IsTruncated>false</IsTruncated>" + all.joined())
    case .hugeHead(let count):
      let line = "X-Long: \(String(repeating: "x", count: 1000))\r\n"
      let lines = String(repeating: line, count: max(1, count / 1000))
      return conversation.send("HTTP/1.1 200 OK\r\n\(lines)Content-Length: 0\r\n\r\n")
    case .stated(let sizes): return stated(sizes)
    case .stall, .reset, .truncated, .otherETag, .wrongLength, .wrongRange, .flippedBit:
      return object(fault)
    }
  }

  /// Until the client gives up, or the server is stopped.
  private func hangOn() -> Bool {
    conversation.waitForHangUp()
    return false
  }

  private func reply(_ status: Int, _ body: [UInt8], more: String = "") -> Bool {
    let head =
      "HTTP/1.1 \(status) Said\r\nContent-Type: application/xml\r\n\(more)Content-Length: \(body.count)\r\n\r\n"
    guard conversation.send(head) else { return false }
    return request.method == "HEAD" || body.withUnsafeBytes { conversation.send($0) }
  }

  private func error(_ status: Int, _ code: String, more: String = "", inside: String = "") -> Bool
  {
    let text =
      Listing.head
      + "<Error><Code>\(code)</Code><Message>as was wished</Message>\(inside)</Error>"
    return reply(status, Array(text.utf8), more: more)
  }

  private func listing(_ inside: String) -> Bool {
    reply(200, Array("\(Listing.head)<ListBucketResult>\(inside)</ListBucketResult>".utf8))
  }

  /// Who signs with a time within five minutes of this clock gets the usual answer.
  private func skewed(_ seconds: Int) -> Bool? {
    let now = Int(time(nil)) + seconds
    if let stamp = request.headers["x-amz-date"], let sent = Dates.parse(stamp),
      abs(sent - now) < 300
    {
      return nil
    }
    return error(
      403, "RequestTimeTooSkewed", more: "Date: \(Dates.http(now))\r\n",
      inside: "<ServerTime>\(Dates.iso(now))</ServerTime>")
  }

  private func endless() -> Bool {
    guard
      conversation.send(
        "HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nConnection: close\r\n\r\n"
          + "\(Listing.head)<ListBucketResult>")
    else { return false }
    let more = String(
      repeating: "<CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes>", count: 1000)
    while conversation.send(more) {}
    return false
  }

  /// Names directly in the bucket.
  private func stated(_ sizes: [String: String]) -> Bool {
    if key.isEmpty {
      let prefix = request["prefix"] ?? ""
      let all = sizes.sorted { $0.key < $1.key }.filter { $0.key.hasPrefix(prefix) }.map {
        "<Contents><Key>\($0)</Key><LastModified>2026-11-23T11:15:00.000Z</LastModified>"
          + "<ETag>&quot;stated&quot;</ETag><Size>\($1)</Size></Contents>"
      }
      return listing("<IsTruncated>false</IsTruncated>" + all.joined())
    }
    guard let size = sizes[String(decoding: key, as: UTF8.self)] else {
      return error(404, "NoSuchKey")
    }
    let tag = "ETag: \"stated\"\r\nLast-Modified: Mon, 23 Nov 2026 11:15:00 GMT\r\n"
    guard request.method == "GET" else {
      return conversation.send("HTTP/1.1 200 OK\r\n\(tag)Content-Length: \(size)\r\n\r\n")
    }
    guard let whole = Int(size), whole > 0,
      let range = Answerer.range(request.headers["range"] ?? "bytes=0-", size: whole)
    else { return error(416, "InvalidRange") }
    let isPart = request.headers["range"] != nil
    let place = "Content-Range: bytes \(range.lowerBound)-\(range.upperBound - 1)/\(whole)\r\n"
    let head =
      "HTTP/1.1 \(isPart ? "206 Partial Content" : "200 OK")\r\n\(tag)\(isPart ? place : "")"
      + "Content-Length: \(range.count)\r\n\r\n"
    guard conversation.send(head) else { return false }
    var position = range.lowerBound
    while position < range.upperBound {
      let end = min(range.upperBound, position + 1 << 20)
      server.tally.sent(end - position)
      let isSent = SyntheticBytes.shared.bytes(position..<end).withUnsafeBytes {
        conversation.send($0)
      }
      guard isSent else { return false }
      position = end
    }
    return true
  }

  private func object(_ fault: Fault) -> Bool? {
    guard request.method == "GET", let entry = server.objects.entry(bucket, key), entry.size > 0,
      let content = server.objects.open(bucket, key, entry)
    else { return nil }
    defer { if case .file(let file) = content { close(file) } }
    let asked = request.headers["range"].map { Answerer.range($0, size: entry.size) }
    if case .some(.none) = asked { return nil }
    let range = (asked ?? nil) ?? 0..<entry.size
    var body = server.objects.bytes(content, range)
    var shown = range
    var etag = entry.etag
    var length = range.count
    var checksum = asked == nil ? Checksum.header(request, body) : ""
    switch fault {
    case .otherETag: etag = "\"another\""
    case .wrongLength(let more):
      length += more
      body += [UInt8](repeating: 0, count: max(0, more))
      body.removeLast(max(0, -more))
    case .wrongRange: shown = range.lowerBound + 1..<range.upperBound + 1
    case .flippedBit: body[body.count / 2] ^= 4
    default: break
    }
    if case .otherETag = fault { checksum = "" }
    let isPart = asked != nil
    var head = "HTTP/1.1 \(isPart ? "206 Partial Content" : "200 OK")\r\nETag: \(etag)\r\n"
    head +=
      "Last-Modified: \(Dates.http(entry.modified))\r\nContent-Length: \(length)\r\n\(checksum)"
    if isPart || fault == .wrongRange {
      head += "Content-Range: bytes \(shown.lowerBound)-\(shown.upperBound - 1)/\(entry.size)\r\n"
    }
    guard conversation.send(head + "\r\n") else { return false }
    return send(body, fault)
  }

  private func send(_ body: [UInt8], _ fault: Fault) -> Bool {
    func part(_ share: Double) -> Bool {
      let count = min(body.count, max(0, Int(Double(body.count) * share)))
      server.tally.sent(count)
      return body.withUnsafeBytes {
        conversation.send(UnsafeRawBufferPointer(rebasing: $0[..<count]))
      }
    }
    switch fault {
    case .stall(let share): return part(share) && hangOn()
    case .reset(let share):
      _ = part(share)
      conversation.resetAtClose()
      return false
    case .truncated(let share):
      _ = part(share)
      return false
    default: return part(1)
    }
  }
}

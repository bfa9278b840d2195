import Glibc

/// One request's answer.
struct Answerer {
  let server: LinkServer
  let request: Request
  let conversation: Conversation
  let bucket: String
  let key: [UInt8]
  var link: Link

  init(server: LinkServer, request: Request, conversation: Conversation) {
    self.server = server
    self.request = request
    self.conversation = conversation
    link = server.link
    let parts = request.path.split(
      separator: 0x2f, maxSplits: 1, omittingEmptySubsequences: false)
    bucket = String(decoding: parts.first ?? [], as: UTF8.self)
    key = parts.count > 1 ? Array(parts[1]) : []
  }

  private var isList: Bool { key.isEmpty && request.method == "GET" }

  func count(in numbers: inout Tally.Numbers) {
    switch request.method {
    case "GET" where isList: numbers.lists += 1
    case "GET": numbers.gets += 1
    case "HEAD": numbers.heads += 1
    case "PUT": numbers.puts += 1
    default: numbers.others += 1
    }
  }

  /// False: the connection is of no more use. `notBefore`: when its first byte may leave, on the
  /// monotonic clock.
  func answer(notBefore: Double) -> Bool {
    // Keys are paths below the bucket's folder, and stay there.
    let parts = request.path.split(separator: 0x2f)
    if parts.contains(where: { $0 == [0x2e] || $0 == [0x2e, 0x2e] }) {
      return error("400 Bad Request", "InvalidURI", notBefore)
    }
    if request.method == "PUT" || request.method == "DELETE", server.objects.trees(bucket) != nil {
      return error("405 Method Not Allowed", "MethodNotAllowed", notBefore)
    }
    switch request.method {
    case "PUT": return put(notBefore)
    case "DELETE":
      server.objects.delete(bucket, key)
      return reply("204 No Content", "", notBefore)
    case "GET", "HEAD": break
    default: return error("501 Not Implemented", "NotImplemented", notBefore)
    }
    if bucket.isEmpty {
      return reply("200 OK", Listing.buckets(server.objects.bucketNames), notBefore)
    }
    guard server.objects.hasBucket(bucket) else {
      return error("404 Not Found", "NoSuchBucket", notBefore)
    }
    if key.isEmpty {
      return request.method == "HEAD" ? reply("200 OK", "", notBefore) : list(notBefore)
    }
    guard let entry = server.objects.entry(bucket, key) else {
      return error("404 Not Found", "NoSuchKey", notBefore)
    }
    return object(entry, notBefore)
  }

  // MARK: Objects

  private func object(_ entry: Objects.Entry, _ notBefore: Double) -> Bool {
    if let wanted = request.headers["if-match"], wanted != entry.etag, wanted != "*" {
      return error("412 Precondition Failed", "PreconditionFailed", notBefore)
    }
    let tag =
      "ETag: \(entry.etag)\r\nLast-Modified: \(Dates.http(entry.modified))\r\nAccept-Ranges: bytes\r\n"
    if let seen = request.headers["if-none-match"], seen == entry.etag {
      return send("HTTP/1.1 304 Not Modified\r\n\(tag)\r\n", notBefore)
    }
    var range = 0..<entry.size
    var status = "200 OK"
    var place = ""
    if let text = request.headers["range"] {
      guard let part = Self.range(text, size: entry.size) else {
        return error("416 Requested Range Not Satisfiable", "InvalidRange", notBefore)
      }
      range = part
      status = "206 Partial Content"
      place = "Content-Range: bytes \(part.lowerBound)-\(part.upperBound - 1)/\(entry.size)\r\n"
    }
    var head =
      "HTTP/1.1 \(status)\r\nContent-Type: application/octet-stream\r\n\(tag)\(place)Content-Length: \(range.count)\r\n"
    guard request.method == "GET", !range.isEmpty else { return send(head + "\r\n", notBefore) }
    guard let content = server.objects.open(bucket, key, entry) else {
      return error("404 Not Found", "NoSuchKey", notBefore)
    }
    defer { if case .file(let file) = content { close(file) } }
    if place.isEmpty, server.keepsChecksums {
      head += Checksum.header(request, server.objects.bytes(content, range))
    }
    head += "\r\n"
    guard send(head, notBefore, more: true) else { return false }
    return body(content, range)
  }

  private func body(_ content: Objects.Content, _ range: Range<Int>) -> Bool {
    let isPaced = link.rate > 0
    var pace = Pace(link, from: isPaced ? clockSeconds() : 0)
    var position = range.lowerBound
    while position < range.upperBound {
      let count = min(link.burst, range.upperBound - position)
      guard sendPart(content, position..<position + count) else { return false }
      position += count
      server.tally.sent(count)
      // The last byte takes its time too: the next answer comes after it.
      if isPaced { sleep(until: pace.sent(count, now: clockSeconds())) }
    }
    return true
  }

  private func sendPart(_ content: Objects.Content, _ range: Range<Int>) -> Bool {
    switch content {
    case .file(let file):
      return conversation.sendFile(file, at: range.lowerBound, count: range.count)
    case .synthetic:
      var position = range.lowerBound
      while position < range.upperBound {
        let run = SyntheticBytes.shared.run(at: position, limit: range.upperBound - position)
        guard conversation.send(run) else { return false }
        position += run.count
      }
      return true
    }
  }

  /// "bytes=a-b", "bytes=a-" or "bytes=-n"; nil where nothing of it is there.
  static func range(_ text: String, size: Int) -> Range<Int>? {
    guard text.hasPrefix("bytes=") else { return nil }
    let ends = text.dropFirst(6).split(separator: "-", omittingEmptySubsequences: false)
    guard ends.count == 2 else { return nil }
    if ends[0].isEmpty {
      guard let count = Int(ends[1]), count > 0, size > 0 else { return nil }
      return max(0, size - count)..<size
    }
    guard let first = Int(ends[0]), first < size else { return nil }
    guard let last = ends[1].isEmpty ? size - 1 : Int(ends[1]), last >= first else { return nil }
    return first..<(last >= size ? size : last + 1)
  }

  private func put(_ notBefore: Double) -> Bool {
    if request.headers["expect"] != nil {
      guard conversation.send("HTTP/1.1 100 Continue\r\n\r\n") else { return false }
    }
    guard let length = request.headers["content-length"].flatMap({ Int($0) }), length >= 0 else {
      return error("411 Length Required", "MissingContentLength", notBefore)
    }
    var left = length
    if key.isEmpty {
      while left > 0 {
        let part = conversation.take(left)
        if part.isEmpty { return false }
        left -= part.count
      }
      server.objects.makeBucket(bucket)
      return reply("200 OK", "", notBefore)
    }
    var template = Array((server.objects.folder + "/" + bucket + "/.put-XXXXXX").utf8CString)
    let file = mkstemp(&template)
    guard file >= 0 else { return false }
    let path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    defer { close(file) }
    while left > 0 {
      let part = conversation.take(left)
      if part.isEmpty
        || part.withUnsafeBytes({ write(file, $0.baseAddress, $0.count) }) != part.count
      {
        unlink(path)
        return false
      }
      left -= part.count
    }
    guard let entry = server.objects.put(path, bucket, key) else {
      unlink(path)
      return error("500 Internal Server Error", "InternalError", notBefore)
    }
    return send("HTTP/1.1 200 OK\r\nETag: \(entry.etag)\r\nContent-Length: 0\r\n\r\n", notBefore)
  }

  // MARK: Listings

  private func list(_ notBefore: Double) -> Bool {
    if request["location"] != nil {
      return reply(
        "200 OK", Listing.head + "<LocationConstraint>us-east-1</LocationConstraint>", notBefore)
    }
    for other in ["versioning", "acl", "policy", "uploads", "versions"] where request[other] != nil
    {
      return error("501 Not Implemented", "NotImplemented", notBefore)
    }
    let listing = Listing(request: request, bucket: bucket, knowsV2: server.knowsListV2)
    guard let head = listing.write(server.objects, into: conversation.page) else {
      return error("404 Not Found", "NoSuchBucket", notBefore)
    }
    let length = head.utf8.count + conversation.page.count
    let first =
      "HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: \(length)\r\n\r\n"
    guard send(first + head, notBefore, more: true) else { return false }
    return conversation.send(conversation.page.bytes)
  }

  // MARK: Sending

  private func send(_ text: String, _ notBefore: Double, more: Bool = false) -> Bool {
    if notBefore > 0 { sleep(until: notBefore) }
    return conversation.send(text, more: more)
  }

  private func reply(_ status: String, _ xml: String, _ notBefore: Double) -> Bool {
    let hasBody = request.method != "HEAD" && !status.hasPrefix("204")
    let kind = xml.isEmpty ? "" : "Content-Type: application/xml\r\n"
    let length = status.hasPrefix("204") ? "" : "Content-Length: \(xml.utf8.count)\r\n"
    return send("HTTP/1.1 \(status)\r\n\(kind)\(length)\r\n" + (hasBody ? xml : ""), notBefore)
  }

  private func error(_ status: String, _ code: String, _ notBefore: Double) -> Bool {
    reply(
      status, Listing.head + "<Error><Code>\(code)</Code><Message>\(code)</Message></Error>",
      notBefore)
  }
}

import Glibc
import Posix
import Synchronization

/// The least that a listing of a bucket takes: connections that ask for one page after another and look for
/// nothing but the token of the next. The bound that a mount's listing is held against.
public struct ListClient: Sendable {
  public struct Result: Sendable {
    public var seconds: Double
    public var requests: Int
    /// Of pages, without heads.
    public var bytes: Int
    public var folders: Int
  }

  public struct Failure: Error, CustomStringConvertible {
    public var description: String
  }

  public var host: String
  public var port: UInt16
  public var bucket: String
  /// Empty, or ends with "/".
  public var prefix: String

  public init(host: String = "127.0.0.1", port: UInt16, bucket: String, prefix: String = "") {
    self.host = host
    self.port = port
    self.bucket = bucket
    self.prefix = prefix
  }

  private struct Outcome {
    var requests = 0
    var bytes = 0
    var trouble: String?
  }

  /// Finds the folders below the prefix, then lists each to its end, `connections` at once; where there are
  /// none, all is in the first listing.
  public func list(connections: Int) throws -> Result {
    let start = clockSeconds()
    var found: [String] = []
    var first = Outcome()
    let top = try Pages(self)
    try top.list(prefix, &first) { found += Self.folders(in: $0) }
    let folders = found
    let next = Atomic(0)
    let outcome = Lock(first)
    let threads = (0..<min(connections, folders.count)).map { _ in
      Thread(named: "list") {
        var mine = Outcome()
        do {
          let pages = try Pages(self)
          while true {
            let index = next.add(1, ordering: .relaxed).oldValue
            guard index < folders.count else { break }
            try pages.list(folders[index], &mine)
          }
        } catch { mine.trouble = "\(error)" }
        let done = mine
        outcome.withLock { outcome in
          outcome.requests += done.requests
          outcome.bytes += done.bytes
          outcome.trouble = outcome.trouble ?? done.trouble
        }
      }
    }
    for thread in threads { thread.join() }
    let seconds = clockSeconds() - start
    let all = outcome.withLock { $0 }
    if let trouble = all.trouble { throw Failure(description: trouble) }
    return Result(
      seconds: seconds, requests: all.requests, bytes: all.bytes, folders: folders.count)
  }

  /// What stands between <CommonPrefixes><Prefix> and its end, as it came: it is sent back so.
  private static func folders(in page: UnsafeRawBufferPointer) -> [String] {
    var folders: [String] = []
    var rest = page
    while let text = element("<CommonPrefixes><Prefix>", in: rest) {
      folders.append(String(decoding: text, as: UTF8.self))
      let end = text.baseAddress! + text.count
      rest = UnsafeRawBufferPointer(start: end, count: page.baseAddress! + page.count - end)
    }
    return folders
  }

  /// What stands between `opening` and the next "<".
  fileprivate static func element(
    _ opening: StaticString, in page: UnsafeRawBufferPointer
  ) -> UnsafeRawBufferPointer? {
    let length = opening.utf8CodeUnitCount
    var rest = page
    while let base = rest.baseAddress, let found = memchr(base, 0x3c, rest.count) {
      let start = UnsafeRawPointer(found)
      let left = base + rest.count - start
      guard left > length else { return nil }
      if memcmp(start, opening.utf8Start, length) == 0 {
        let text = start + length
        return memchr(text, 0x3c, left - length).map {
          UnsafeRawBufferPointer(start: text, count: UnsafeRawPointer($0) - text)
        }
      }
      rest = UnsafeRawBufferPointer(start: start + 1, count: left - 1)
    }
    return nil
  }

  /// What the next page is asked for with; nil: this was the last. Stores say so before the names, so no
  /// more than that is looked at.
  fileprivate func token(in page: UnsafeRawBufferPointer, of folder: String) throws -> String? {
    let start = UnsafeRawBufferPointer(rebasing: page.prefix(8 << 10))
    guard let isTruncated = Self.element("<IsTruncated>", in: start) else {
      throw Failure(description: "the listing of '\(folder)' does not begin with <IsTruncated>")
    }
    guard isTruncated.elementsEqual("true".utf8) else { return nil }
    guard let token = Self.element("<NextContinuationToken>", in: start) else {
      throw Failure(description: "the listing of '\(folder)' is cut off without a token")
    }
    return String(decoding: token, as: UTF8.self)
  }

  /// One connection and its buffer.
  private final class Pages {
    private let client: ListClient
    private let conversation: Conversation
    private var buffer: UnsafeMutableRawBufferPointer

    init(_ client: ListClient) throws {
      guard let socket = connectedSocket(host: client.host, port: client.port) else {
        throw Failure(description: "nobody listens on \(client.host):\(client.port)")
      }
      self.client = client
      conversation = Conversation(socket)
      buffer = .allocate(byteCount: 1 << 20, alignment: 64)
    }

    deinit {
      close(conversation.socket)
      buffer.deallocate()
    }

    /// Every page of `folder`, whose name is encoded as the server encodes it.
    func list(
      _ folder: String, _ outcome: inout Outcome,
      _ body: (UnsafeRawBufferPointer) -> Void = { _ in }
    ) throws {
      var token: String?
      repeat {
        let place =
          "/\(client.bucket)?delimiter=%2F&encoding-type=url&list-type=2&prefix=\(folder)"
        let question =
          "GET \(place)\(token.map { "&continuation-token=" + $0 } ?? "") HTTP/1.1\r\n"
          + "Host: \(client.host)\r\n\r\n"
        guard conversation.send(question) else { throw client.gone(folder) }
        let page = try receive(folder)
        outcome.requests += 1
        outcome.bytes += page.count
        body(page)
        token = try client.token(in: page, of: folder)
      } while token != nil
    }

    /// The page, valid until the next.
    private func receive(_ folder: String) throws -> UnsafeRawBufferPointer {
      var count = 0
      var end: Int?
      while end == nil {
        count += try more(at: count, folder)
        end = findEndOfHead(in: UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      }
      guard let end else { throw client.gone(folder) }
      let head = UnsafeRawBufferPointer(rebasing: buffer[..<end])
      guard head.starts(with: "HTTP/1.1 200 ".utf8) else {
        throw Failure(description: "listing '\(folder)': \(String(decoding: head, as: UTF8.self))")
      }
      guard let length = Self.contentLength(head) else {
        throw Failure(description: "listing '\(folder)': an answer without Content-Length")
      }
      if end + length > buffer.count { enlarge(to: end + length, keeping: count) }
      while count < end + length { count += try more(at: count, folder) }
      return UnsafeRawBufferPointer(rebasing: buffer[end..<end + length])
    }

    private func more(at position: Int, _ folder: String) throws -> Int {
      guard position < buffer.count else { throw client.gone(folder) }
      let room = buffer.count - position
      let count = recv(conversation.socket, buffer.baseAddress! + position, room, 0)
      guard count > 0 else { throw client.gone(folder) }
      return count
    }

    private func enlarge(to size: Int, keeping count: Int) {
      let larger = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 64)
      larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      buffer.deallocate()
      buffer = larger
    }

    private static func contentLength(_ head: UnsafeRawBufferPointer) -> Int? {
      let lines = String(decoding: head, as: UTF8.self).lowercased().split(separator: "\r\n")
      return lines.first { $0.hasPrefix("content-length:") }.flatMap {
        Int($0.dropFirst("content-length:".count).filter { $0 != " " })
      }
    }
  }

  private func gone(_ folder: String) -> Failure {
    Failure(description: "the server hung up on the listing of '\(folder)', or took 30 seconds")
  }
}

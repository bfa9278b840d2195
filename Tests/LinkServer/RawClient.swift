import Glibc
import Posix
import Synchronization

/// What a link carries at most: connections that ask for ranges one after another and throw away what
/// comes. The bound that a mount is held against.
public struct RawClient: Sendable {
  public struct Result: Sendable {
    public var seconds: Double
    public var bytes: Int
    /// Median wait for the first byte of an answer, seconds.
    public var firstByte: Double
  }

  public var host: String
  public var port: UInt16
  /// "/bucket/key".
  public var path: String

  public init(host: String = "127.0.0.1", port: UInt16, path: String) {
    self.host = host
    self.port = port
    self.path = path
  }

  /// The first `bytes` of the object by `connections`, `range` bytes a request; nil: an equal part each, in
  /// one request.
  public func read(bytes: Int, connections: Int, range: Int? = nil) -> Result? {
    let next = Atomic(0)
    let step = range ?? (bytes + connections - 1) / connections
    let outcome = Lock((received: 0, waits: [Double](), hasFailed: false))
    let start = clockSeconds()
    let threads = (0..<connections).map { _ in
      Thread(named: "raw") {
        var received = 0
        var waits: [Double] = []
        let isWell = self.converse { () -> Range<Int>? in
          let from = next.add(step, ordering: .relaxed).oldValue
          return from < bytes ? from..<min(from + step, bytes) : nil
        } got: { wait, count in
          waits.append(wait)
          received += count
        }
        outcome.withLock { outcome in
          outcome.received += received
          outcome.waits += waits
          if !isWell { outcome.hasFailed = true }
        }
      }
    }
    for thread in threads { thread.join() }
    let seconds = clockSeconds() - start
    let (received, waits, hasFailed) = outcome.withLock { $0 }
    guard !hasFailed, received == bytes, !waits.isEmpty else { return nil }
    return Result(
      seconds: seconds, bytes: received, firstByte: waits.sorted()[waits.count / 2])
  }

  private func converse(
    _ nextRange: () -> Range<Int>?, got: (_ wait: Double, _ count: Int) -> Void
  ) -> Bool {
    guard let socket = connectedSocket(host: host, port: port) else { return false }
    defer { close(socket) }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)
    defer { buffer.deallocate() }
    let conversation = Conversation(socket)
    while let range = nextRange() {
      let asked = clockSeconds()
      let question =
        "GET \(path) HTTP/1.1\r\nHost: \(host)\r\nRange: bytes=\(range.lowerBound)-\(range.upperBound - 1)\r\n\r\n"
      guard conversation.send(question) else { return false }
      var count = recv(socket, buffer.baseAddress, 4096, 0)
      let wait = clockSeconds() - asked
      guard count > 0 else { return false }
      let start = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<count])
      guard let head = findEndOfHead(in: start), start.starts(with: "HTTP/1.1 206 ".utf8) else {
        return false
      }
      var received = count - head
      while received < range.count {
        count = recv(socket, buffer.baseAddress, buffer.count, 0)
        guard count > 0 else { return false }
        received += count
      }
      got(wait, received)
    }
    return true
  }
}

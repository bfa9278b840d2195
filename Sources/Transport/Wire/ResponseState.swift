import ObjectStore
import Posix

/// What has come of the response to one attempt: the head, and of the body what is collected. A value; `Transfer` tells
/// it what libcurl hands over.
struct ResponseState {
  /// Why we ended the transfer ourselves, inside a callback.
  enum Abort {
    case rejected
    case lost
    case bodyTooLarge(limit: Int)
    case bodiesTooLarge
    case headTooLarge
    case malformedHead
    case forbiddenAddress(PeerAddress)
  }

  var parser = HeadParser()
  var head: HTTPResponseHead? { didSet { status = head?.status } }
  /// Stored: where it is computed from `head`, the optimizer of Swift 6.3.1 fails (CopyPropagation, in `Transfer.logLine`).
  private(set) var status: Int?
  /// When the head was there.
  var answeredAt: Instant?
  var disposition = BodyDisposition.reject
  var abort: Abort?
  /// Bytes of head and body so far.
  var received = 0
  /// Bytes that the exchange accepted.
  var streamed = 0
  private var collected: [UInt8] = []
  private var lease: BodyBudget.Lease?

  var body: CollectedBody { CollectedBody(collected, lease) }

  /// False: `abort` says why.
  mutating func collect(
    _ bytes: UnsafeRawBufferPointer, limit: Int, within budget: BodyBudget?
  ) -> Bool {
    guard collected.count + bytes.count <= limit else {
      abort = .bodyTooLarge(limit: limit)
      return false
    }
    if let budget {
      let lease = lease ?? BodyBudget.Lease(budget)
      self.lease = lease
      guard lease.grow(by: bytes.count) else {
        abort = .bodiesTooLarge
        return false
      }
    }
    collected.append(contentsOf: bytes)
    return true
  }
}

extension ResponseState.Abort {
  /// Nil: libcurl's own words say it. `budget`: bytes that all bodies together may hold.
  func failure(budget: Int) -> TransferFailure? {
    switch self {
    case .bodyTooLarge(let limit):
      TransferFailure(.bodyTooLarge, detail: "a response of more than \(limit) bytes")
    case .bodiesTooLarge:
      TransferFailure(
        .bodiesTooLarge,
        detail: "the responses being received use all of their \(budget >> 20) MiB")
    case .headTooLarge:
      TransferFailure(.malformed, detail: "more than \(HeadParser.maxBytes) bytes of headers")
    case .malformedHead: TransferFailure(.malformed, detail: "a response that is not HTTP")
    case .forbiddenAddress(let address):
      TransferFailure(
        .malformed,
        detail:
          "the server redirects to \(address), an address in a network that the server is not in; "
          + "--allow-private permits private networks and this machine")
    case .rejected, .lost: nil
    }
  }
}

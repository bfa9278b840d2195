public import ObjectStore

/// One logical operation of a store over HTTP: at least one request, several when it is retried.
///
/// The exchange knows the protocol (what to ask, what an answer means); the transport owns the
/// rest: connections, back-off, the retry budget, deadlines. Calls come from the transport's thread,
/// one after another; none may block.
public protocol Exchange: AnyObject, Sendable {
  /// It reads and changes nothing, so that an attempt that is slow to be answered may be sent a second
  /// time, on another connection; `nextRequest` is then called twice for it, and the rest once. Does not change.
  var mayBeHedged: Bool { get }

  /// It has a waiter now. A prefetch alone is not worth a hedged request.
  var isAwaited: Bool { get }

  /// Bytes of body that the next request asks for; 0 where that is not known.
  var expectedBytes: Int { get }

  /// So long the next request was held back by a rate limit that the user set; called just before it is made.
  func waitedForLimit(_ time: Duration)

  /// The request of this attempt (0, 1, ...), or why there is none. Called again for the same attempt after a wait,
  /// and for its hedge.
  func nextRequest(attempt: Int) -> NextRequest

  /// The head of the response is there. What to do with its body.
  func receive(head: HTTPResponseHead) -> BodyDisposition

  /// Bytes of a body that is streamed. False: they are not what was asked for, give up this attempt.
  func receive(body: UnsafeRawBufferPointer) -> Bool

  /// The attempt is over. What next.
  ///
  /// Also called when the deadline ends the exchange, so that its error can name store and key; for
  /// one that was never admitted no `nextRequest` came before. Nothing is tried after it then.
  func attemptEnded(_ outcome: AttemptOutcome) -> Verdict

  /// The end of the exchange, exactly once.
  func finish(_ result: Result<Void, StoreError>)
}

extension Exchange {
  public var mayBeHedged: Bool { false }
  public var isAwaited: Bool { true }
  public var expectedBytes: Int { 0 }
  public func waitedForLimit(_ time: Duration) {}
}

/// Whether an exchange can send a request now.
public enum NextRequest: Sendable {
  case ready(HTTPRequest)
  /// There can be none before the signal, such as for credentials that are being renewed. The exchange ends with `cause`
  /// if its deadline comes first.
  case waiting(for: ReadinessSignal, cause: StoreError)
  /// There will be none: the exchange ends with this error.
  case failed(StoreError)

  /// The request that `make` returns, or the error that it throws.
  public init(catching make: () throws(StoreError) -> HTTPRequest) {
    do throws(StoreError) { self = .ready(try make()) } catch { self = .failed(error) }
  }
}

public enum BodyDisposition: Sendable {
  /// Hand bytes to `receive(body:)` as they come.
  case stream
  /// Collect up to `limit` bytes and hand them over with the outcome; more fails the attempt.
  /// `isBudgeted`: it counts against the transport's memory for bodies.
  case collect(limit: Int, isBudgeted: Bool = true)
  /// End the attempt now: the outcome is `.rejected`.
  case reject
}

public enum AttemptOutcome: Sendable {
  /// A complete response; `body` is what was collected.
  case response(HTTPResponseHead, body: CollectedBody)
  /// The head was rejected, or `receive(body:)` returned false.
  case rejected(HTTPResponseHead)
  /// No complete response; `wasStreaming` tells that some of the body had come.
  case transferFailed(TransferFailure, wasStreaming: Bool)
}

/// What went wrong below HTTP.
public struct TransferFailure: Error, Sendable, Equatable {
  public enum Kind: Sendable, Equatable {
    case nameNotResolved, connectionRefused, connectTimedOut, tls, stalled, firstByteTimedOut
    /// `bodyTooLarge`: it never fits. `bodiesTooLarge`: not beside those that are held now.
    case connectionLost, truncated, bodyTooLarge, bodiesTooLarge, malformed, other
  }
  public var kind: Kind
  /// libcurl's words, with the host.
  public var detail: String
  public init(_ kind: Kind, detail: String) {
    self.kind = kind
    self.detail = detail
  }
}

public enum Verdict: Sendable {
  case succeeded
  case failed(StoreError)
  /// Ask again after a back-off; `cause` is reported if the time or the tries run out. `isThrottle`: the
  /// store asked for less. `after`: no earlier than that (retry-after).
  case retry(cause: StoreError, isThrottle: Bool = false, after: Duration? = nil)
  /// Ask again at once with another request (redirect, other region, corrected clock); the exchange
  /// bounds how often.
  case again
}

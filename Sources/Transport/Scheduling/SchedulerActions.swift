import ObjectStore
import Posix

/// What the scheduler wants done when it is asked which exchange goes next.
enum TransferAdmission: Equatable, Sendable {
  /// The exchange is to make the request of this attempt. `held`: how long the user's rate limits held it back; nil:
  /// not at all.
  case begin(ExchangeID, attempt: Int, held: Duration?)
  /// Its deadline passed in the queue: see `TransferScheduler.expire`.
  case expire(ExchangeID)
  /// Nothing can be sent now. `limitsHoldAll`: the rate limits hold back a request that a reader waits for.
  case idle(limitsHoldAll: Bool)
}

/// What the scheduler wants done when the alarm of an exchange was due.
enum TransferAlarm: Equatable, Sendable {
  case nothing
  /// The deadline has come: see `TransferScheduler.expire`.
  case expire
  /// A second request of this attempt is to be sent, besides that transfer.
  case hedge(TransferID, attempt: Int)
  /// This transfer is to be released: its hedge goes on in its place.
  case release(TransferID)
  /// The attempt is to be ended: nothing came for so long.
  case giveUp(TransferID, TransferFailure.Kind, after: Duration)
}

/// How an exchange ends whose deadline has come.
enum TransferExpiry: Equatable, Sendable {
  /// With this error.
  case fail(StoreError)
  /// By what that transfer, which still runs, has to say.
  case running(TransferID)
  /// No request was sent, for this reason: the exchange is asked once more, because it alone can name store and key.
  case unsent(TransferFailure)
}

/// What a transfer was, once it is over.
struct TransferReport: Sendable {
  var startedAt: Instant
  /// When the head of a response was there.
  var answeredAt: Instant?
  var status: Int?
  /// Bytes of head and body.
  var received = 0
  /// Bytes that its request asked for; 0: unknown.
  var expected = 0

  var isSuccess: Bool { answeredAt != nil && status.map { $0 < 400 } ?? false }
}

import ObjectStore
import Posix

/// An exchange on its way from `start` to `finish`. The caller holds it as a ticket; all its state
/// belongs to the transport's thread.
final class ExchangeTask: FetchTicket, @unchecked Sendable {
  enum Phase {
    /// Ready, waits for one of the transfers that may run at once.
    case queued
    /// Waits for its back-off to end.
    case backingOff
    /// Its back-off is over; waits for the retry budget.
    case awaitingBudget
    /// Cannot be sent yet, for this reason.
    case heldUp(StoreError)
    case running(Transfer, ProgressWatch)
    case ended
  }

  let deadline: Instant
  private let mailbox: Mailbox

  /// Nil once ended: the exchange's owner often holds the ticket, which would be a cycle.
  var exchange: (any Exchange)?
  var phase = Phase.queued
  var ledger: RetryState
  /// When the phase wants to be looked at; the deadline counts besides.
  var alarm = Instant.distantFuture
  /// The loop's `limitTime` when it began to wait for its turn.
  var limitTimeAtQueue = Duration.zero
  /// Where the last request went, for messages.
  var origin = ""
  /// When its last attempt began, and how much that asked for.
  var sentAt = Instant(nanoseconds: 0)
  var size = TTFBTracker.SizeClass.unknown
  /// The second request of an attempt whose first has had no answer for long.
  var hedge: Transfer?
  /// Whichever of the two was answered first: the other is not listened to any more.
  var winner: Transfer?
  /// Its place in the loop's list of live tasks.
  var index = 0

  init(_ exchange: any Exchange, deadline: Instant, policy: RetryPolicy, mailbox: Mailbox) {
    self.exchange = exchange
    self.deadline = deadline
    self.mailbox = mailbox
    ledger = RetryState(deadline: deadline, policy: policy)
  }

  func cancel() { mailbox.cancel(self) }

  /// The head of an answer has come over `transfer`. False: the other was faster, or still runs while this
  /// one was refused: one server's bad moment must not end what another is about to answer.
  func claim(_ transfer: Transfer, status: Int) -> Bool {
    if winner == nil, hedge == nil || status < 400 || status == 416 { winner = transfer }
    return winner === transfer
  }

  var hasEnded: Bool {
    if case .ended = phase { return true }
    return false
  }
}

import ObjectStore
import Posix

/// An exchange on its way from `start` to `finish`. The caller holds it as a ticket; all its state belongs to the
/// thread of its loop.
final class ExchangeTask: FetchTicket, @unchecked Sendable {
  let deadline: Instant
  let limits: ExchangeLimits
  private let mailbox: Mailbox

  /// Nil once ended: the exchange's owner often holds the ticket, which would be a cycle.
  var exchange: (any Exchange)?
  /// The scheduler's; nil before the loop has accepted it.
  var id: ExchangeID?
  /// Where the last request went, for messages.
  var origin = ""

  init(
    _ exchange: any Exchange, deadline: Instant, limits: ExchangeLimits, mailbox: Mailbox
  ) {
    self.exchange = exchange
    self.deadline = deadline
    self.limits = limits
    self.mailbox = mailbox
  }

  func cancel() { mailbox.cancel(self) }
}

import CFuseShim
import Glibc
import Metrics
import Posix
import ReadEngine
import Synchronization
import SystemPackage

/// A request that is answered later, from any thread. If it is dropped without an answer, it
/// answers EIO by itself and is counted: a program is never left hanging by a forgotten reply.
final class ParkedRequest: Sendable {
  /// The bits of libfuse's request, 0 once it was answered (libfuse frees it with the answer).
  private let pending: Atomic<UInt>
  /// Keeps libfuse's session alive for as long as a reply may go through it.
  let session: FuseSession
  /// The thread that asked; 0 where it cannot be seen from here.
  let caller: pid_t
  private let began = Instant.now
  /// The limits' clock then; nothing for reads, whose fetches know it themselves.
  private let limitTime: Int64
  /// Of a read: whose it is.
  private let account: CallerAccount?
  /// The account counts it among the reads that wait.
  private let isWaiting: Atomic<Bool>
  /// What names it in the log, at level debug alone.
  private let label: String?
  /// What it waits for counts as metadata's.
  private let countsWait: Bool

  init(
    _ request: fuse_req_t, _ session: FuseSession, account: CallerAccount? = nil,
    label: String? = nil, countsWait: Bool = true
  ) {
    self.label = label
    self.countsWait = countsWait
    pending = Atomic(UInt(bitPattern: request))
    self.session = session
    self.account = account
    isWaiting = Atomic(account != nil)
    limitTime =
      account == nil
      ? session.limitClock?.nanoseconds(at: Int64(clamping: began.nanoseconds)) ?? 0 : 0
    caller = fuse_req_ctx(request)?.pointee.pid ?? 0
    account?.startsToWait(at: Int64(clamping: began.nanoseconds))
  }

  var isPending: Bool { pending.load(ordering: .relaxed) != 0 }

  /// It was not answered at once: from now on its caller may be killed while it waits.
  func watch() {
    if isPending { session.interrupts.add(self) }
  }

  /// Its caller is being killed and waits for nothing else.
  func giveUp() { answer(error: .interrupted) { fuse_reply_err($0, EINTR) } }

  deinit {
    if isWaiting.load(ordering: .relaxed) {
      account?.stopsWaiting(at: Int64(clamping: Instant.now.nanoseconds))
    }
    guard let request = claim() else { return }
    session.metrics.droppedRequests.add()
    session.metrics.errors.add()
    _ = fuse_reply_err(request, Errno.ioError.rawValue)
  }

  /// True: the kernel took the answer. False: the caller of the request is gone (interrupted), or
  /// it was answered before; what the answer would have handed over must be taken back.
  /// `error`: what the answer says, for the log.
  @discardableResult
  func answer(error: Errno? = nil, _ reply: (fuse_req_t) -> CInt) -> Bool {
    guard let request = claim() else { return false }
    if let label { session.traceResult(label, error, after: .now - began) }
    if account == nil, countsWait { countWait() }
    return reply(request) == 0 && session.isOpen
  }

  func fail(_ error: Errno, during operation: Operation) {
    session.errors.record(error, during: operation)
    answer(error: error) { fuse_reply_err($0, error.replyCode) }
  }

  /// Names that are known are answered in less; what took longer had to wait for a listing.
  private static let shortWait = Duration.microseconds(200)

  private func countWait() {
    let now = Instant.now
    guard now - began > Self.shortWait else { return }
    let limited =
      session.limitClock.map {
        $0.nanoseconds(at: Int64(clamping: now.nanoseconds)) - limitTime
      } ?? 0
    session.processes.account(ofThread: caller)
      .waitedForMetadata(Int64(clamping: (now - began).nanoseconds), limited: limited)
  }

  /// libfuse's request for the first who asks; nil for the others.
  private func claim() -> fuse_req_t? {
    fuse_req_t(bitPattern: pending.exchange(0, ordering: .acquiringAndReleasing))
  }
}

extension ParkedRequest: ParkedRead {
  func complete(_ reply: ReadReply, _ wait: ReadWait) {
    isWaiting.store(false, ordering: .relaxed)
    account?.waited(wait, until: Int64(clamping: Instant.now.nanoseconds))
    answer(error: reply.error) { session.send(reply, to: $0) }
  }
}

import Posix
import Testing

@testable import Control

/// A connection's events, without a socket.
@Suite struct ConnectionStateTests {
  private let start = Instant(nanoseconds: 1_000_000_000)

  private func at(_ seconds: Int64) -> Instant { start + .seconds(seconds) }

  /// The value, in an object: what changes it is called within expectations.
  private final class Connection {
    var state: ConnectionState

    init(_ state: ConnectionState) { self.state = state }

    var phase: ConnectionState.Phase { state.phase }
    var closesAfter: Bool { state.closesAfter }
    var unsent: Int { state.unsent }
    @discardableResult
    func headArrived(keepsAlive: Bool, now: Instant) -> Bool {
      state.headArrived(keepsAlive: keepsAlive, now: now)
    }
    func progressed(now: Instant) { state.progressed(now: now) }
    func requestEnded() -> Bool { state.requestEnded() }
    func isMalformed() -> Bool { state.isMalformed() }
    func answered(now: Instant) -> Bool { state.answered(now: now) }
    func sent(now: Instant) -> Bool { state.sent(now: now) }
    func inputEnded() -> Bool { state.inputEnded() }
    func closed() { state.closed() }
    func isOverdue(now: Instant) -> Bool { state.isOverdue(now: now) }
  }

  private func connection() -> Connection {
    Connection(ConnectionState(patience: .seconds(60), forBodies: 10, now: start))
  }

  @Test func aRequestIsAnsweredOnceAndTheConnectionStaysOpen() {
    let state = connection()
    state.headArrived(keepsAlive: true, now: at(1))
    #expect(state.requestEnded())
    #expect(!state.requestEnded())
    #expect(state.answered(now: at(2)))
    #expect(!state.answered(now: at(2)))
    #expect(!state.sent(now: at(3)))
    #expect(state.phase == .idle && state.unsent == 0)
  }

  @Test func aConnectionClosesAfterTheResponseWhereTheClientSaysSo() {
    let state = connection()
    state.headArrived(keepsAlive: false, now: start)
    #expect(state.requestEnded() && state.answered(now: start) && state.closesAfter)
    #expect(state.sent(now: start))
    // It has sent all, and still gets its response.
    let half = connection()
    half.headArrived(keepsAlive: true, now: start)
    #expect(half.requestEnded() && !half.inputEnded())
    #expect(half.answered(now: start) && half.sent(now: start))
    // It has sent a part.
    let part = connection()
    part.headArrived(keepsAlive: true, now: start)
    #expect(part.inputEnded())
  }

  @Test func onlyTheClientsOwnSilenceIsLimited() {
    let state = connection()
    #expect(!state.isOverdue(now: at(59)) && state.isOverdue(now: at(60)))
    state.headArrived(keepsAlive: true, now: at(50))
    #expect(!state.isOverdue(now: at(109)) && state.isOverdue(now: at(110)))
    state.progressed(now: at(100))
    #expect(!state.isOverdue(now: at(159)) && state.isOverdue(now: at(160)))
    #expect(state.requestEnded())
    // A job may be waited for.
    #expect(!state.isOverdue(now: at(3600)))
    #expect(state.answered(now: at(3600)))
    #expect(!state.isOverdue(now: at(3659)) && state.isOverdue(now: at(3660)))
    // It takes the response slowly, and is given the time.
    state.progressed(now: at(3650))
    #expect(!state.isOverdue(now: at(3709)) && state.isOverdue(now: at(3710)))
  }

  @Test func aBodyThatTricklesEndsAfterTenTimesThePatience() {
    let state = connection()
    state.headArrived(keepsAlive: true, now: start)
    for second in stride(from: Int64(1), to: 600, by: 30) {
      state.progressed(now: at(second))
      #expect(!state.isOverdue(now: at(second)))
    }
    state.progressed(now: at(599))
    #expect(!state.isOverdue(now: at(599)) && state.isOverdue(now: at(600)))
  }

  /// The second response is made before the client has taken the first one.
  @Test func noResponseIsLostBehindOneThatIsStillBeingSent() {
    let state = connection()
    state.headArrived(keepsAlive: true, now: start)
    #expect(state.requestEnded() && state.answered(now: start))
    #expect(state.headArrived(keepsAlive: false, now: start) && state.requestEnded())
    #expect(!state.sent(now: start), "the second one is being made")
    #expect(state.answered(now: start))
    #expect(!state.headArrived(keepsAlive: true, now: start), "behind the last one")
    #expect(state.sent(now: start))
    let both = connection()
    both.headArrived(keepsAlive: true, now: start)
    #expect(both.requestEnded() && both.answered(now: start))
    both.headArrived(keepsAlive: false, now: start)
    #expect(both.requestEnded() && both.answered(now: start) && both.unsent == 2)
    #expect(!both.sent(now: start) && both.sent(now: start))
  }

  @Test func whatIsNoRequestIsAnsweredWithAnErrorAndEndsTheConnection() {
    let state = connection()
    #expect(state.isMalformed() && state.closesAfter)
    #expect(state.answered(now: start) && state.sent(now: start))
    // Behind a request that is being answered, nothing is sent in its place.
    let busy = connection()
    busy.headArrived(keepsAlive: true, now: start)
    #expect(busy.requestEnded() && !busy.isMalformed() && busy.closesAfter)
  }

  @Test func nothingIsSentOnAClosedConnection() {
    let state = connection()
    state.headArrived(keepsAlive: true, now: start)
    #expect(state.requestEnded())
    state.closed()
    #expect(!state.answered(now: start) && !state.sent(now: start))
    #expect(!state.isOverdue(now: at(10_000)))
    state.headArrived(keepsAlive: true, now: at(1))
    #expect(!state.requestEnded())
  }
}

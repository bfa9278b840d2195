import Glibc
import Posix
import Testing

@Suite struct ThreadTests {
  private static func ownName() -> String {
    let file = open("/proc/thread-self/comm", O_RDONLY | O_CLOEXEC)
    defer { close(file) }
    var buffer = [UInt8](repeating: 0, count: 32)
    let count = read(file, &buffer, buffer.count)
    return String(decoding: buffer[..<max(0, count - 1)], as: UTF8.self)
  }

  @Test(arguments: [
    ("short", "short"), ("exactly-15-byte", "exactly-15-byte"),
    ("more than fifteen bytes", "more than fifte"), ("trän", "trän"),
  ])
  func threadsAreNamed(_ asked: String, _ shown: String) {
    let seen = Lock("")
    Thread(named: asked) { seen.withLock { $0 = Self.ownName() } }.join()
    #expect(seen.withLock { $0 } == shown)
  }

  @Test func joinWaitsForTheBodyAndMayBeCalledAgain() {
    let done = Lock(false)
    let gate = Monitor(false)
    let thread = Thread(named: "body") {
      _ = gate.wait { $0 ? true : nil }
      done.withLock { $0 = true }
    }
    #expect(done.withLock { $0 } == false)
    gate.signal { $0 = true }
    thread.join()
    #expect(done.withLock { $0 })
    thread.join()
  }

  @Test func bodyIsReleasedWhenItEnded() {
    final class Token: Sendable {}
    weak var seen: Token?
    do {
      let token = Token()
      seen = token
      Thread(named: "token") { withExtendedLifetime(token) {} }.join()
    }
    #expect(seen == nil)
  }
}

@Suite struct WorkerPoolTests {
  @Test func oneThreadKeepsTheOrder() {
    let pool = WorkerPool(named: "order", threads: 1)
    let seen = Lock<[Int]>([])
    for index in 0..<1_000 { #expect(pool.submit { seen.withLock { $0.append(index) } }) }
    pool.shutdown()
    #expect(seen.withLock { $0 } == Array(0..<1_000))
  }

  @Test func queueIsBoundedAndRefusesWithoutWaiting() {
    let pool = WorkerPool(named: "bound", threads: 1, queueLimit: 3)
    let gate = Monitor((isOpen: false, isRunning: false))
    let ran = Lock(0)
    #expect(
      pool.submit {
        gate.signal(all: true) { $0.isRunning = true }
        _ = gate.wait { $0.isOpen ? true : nil }
      })
    _ = gate.wait { $0.isRunning ? true : nil }
    for _ in 0..<3 { #expect(pool.submit { ran.withLock { $0 += 1 } }) }
    #expect(!pool.submit { ran.withLock { $0 += 100 } })
    gate.signal(all: true) { $0.isOpen = true }
    pool.shutdown()
    #expect(ran.withLock { $0 } == 3)
  }

  @Test func threadsWorkAtTheSameTime() {
    let pool = WorkerPool(named: "many", threads: 4)
    let inside = Monitor(0)
    let met = Lock(0)
    for _ in 0..<4 {
      #expect(
        pool.submit {
          inside.signal(all: true) { $0 += 1 }
          let all = inside.wait(until: .now + .seconds(20)) { $0 == 4 ? true : nil }
          if all == true { met.withLock { $0 += 1 } }
        })
    }
    pool.shutdown()
    #expect(met.withLock { $0 } == 4)
  }

  @Test func shutdownRunsWhatWasTakenRefusesTheRestAndMayBeRepeated() {
    let pool = WorkerPool(named: "end", threads: 2)
    let ran = Lock(0)
    for _ in 0..<500 { #expect(pool.submit { ran.withLock { $0 += 1 } }) }
    pool.shutdown()
    #expect(ran.withLock { $0 } == 500)
    #expect(!pool.submit { ran.withLock { $0 += 1 } })
    pool.shutdown()
    #expect(ran.withLock { $0 } == 500)
  }

  @Test func jobsMaySubmitJobs() {
    let pool = WorkerPool(named: "nested", threads: 2)
    let ran = Monitor(0)
    for _ in 0..<50 {
      #expect(
        pool.submit {
          _ = pool.submit { ran.signal(all: true) { $0 += 1 } }
        })
    }
    #expect(ran.wait(until: .now + .seconds(20)) { $0 == 50 ? true : nil } == true)
    pool.shutdown()
  }
}

@Suite struct OwnedDescriptorTests {
  private func isOpen(_ raw: CInt) -> Bool { fcntl(raw, F_GETFD) >= 0 }

  /// Socket pairs, because their ends tell whether the other is closed: a descriptor number may be another
  /// test's by now.
  private func pair() -> (read: CInt, write: CInt) {
    var ends: [CInt] = [-1, -1]
    let kind = SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue
    #expect(socketpair(AF_UNIX, CInt(kind), 0, &ends) == 0)
    return (ends[0], ends[1])
  }

  private func writerIsGone(_ read: CInt) -> Bool {
    var byte: UInt8 = 0
    return Glibc.read(read, &byte, 1) == 0
  }

  @Test func closesAtTheEndOfItsScope() {
    let (read, write) = pair()
    defer { close(read) }
    do {
      let owned = OwnedDescriptor(adopting: write)
      #expect(owned.raw == write)
      #expect(!writerIsGone(read))
    }
    #expect(writerIsGone(read))
  }

  @Test func releaseGivesItAway() {
    let (read, write) = pair()
    defer { close(read) }
    let raw = OwnedDescriptor(adopting: write).release()
    #expect(raw == write)
    #expect(!writerIsGone(read))
    close(raw)
    #expect(writerIsGone(read))
  }

  @Test func openIsCloseOnExecAndThrowsTheErrno() throws {
    let file = try OwnedDescriptor.open("/dev/null", O_RDONLY)
    #expect(fcntl(file.raw, F_GETFD) & FD_CLOEXEC != 0)
    #expect(throws: (any Error).self) {
      _ = try OwnedDescriptor.open("/no/such/file", O_RDONLY).raw
    }
    do { _ = try OwnedDescriptor.open("/no/such/file", O_RDONLY).raw } catch {
      #expect("\(error)".contains("No such file"))
    }
  }
}

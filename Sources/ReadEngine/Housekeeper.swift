/// The engine's clock: ends reads whose time is over and gives idle memory back.
import Metrics
import Posix
import SystemPackage

final class Housekeeper: Sendable {
  private let monitor = Monitor(false)
  private let thread = Lock<Thread?>(nil)

  /// A read ends at most this much later than it should.
  private static let period = Duration.milliseconds(250)

  /// Free memory that stays ready for the next burst, bytes; the rest goes back when all is quiet.
  private static let keptWhenIdle = 16 << 20

  /// Rounds without a fetch before memory is given back: 5 seconds.
  private static let quietRounds = 20

  init(services: EngineServices) throws(EngineError) {
    do throws(Errno) {
      let started = try Thread.start(named: "housekeeper") { [monitor] in
        Self.run(services, monitor)
      }
      thread.withLock { $0 = started }
    } catch {
      throw .noThread("that keeps the time of reads", error)
    }
  }

  private static func run(_ services: EngineServices, _ monitor: Monitor<Bool>) {
    var quiet = 0
    while true {
      let next = Instant.now + period
      let stops: Bool? = monitor.wait(until: next) { $0 ? true : nil }
      if stops == true { return }
      if services.metrics.reads.parked.current > 0 {
        let now = Instant.now
        for object in services.inUse { object.expire(at: now) }
      }
      services.dispatcher.pump()
      quiet = services.dispatcher.inFlight == 0 ? quiet + 1 : 0
      if quiet == quietRounds { services.pool.trim(keeping: keptWhenIdle) }
    }
  }

  func stop() {
    monitor.signal(all: true) { $0 = true }
    thread.withLock { $0 }?.join()
  }
}

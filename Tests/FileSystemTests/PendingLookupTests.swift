import ObjectStore
import Posix
import Testing

@testable import FileSystem

/// Lookups in flight alone, against a plain list of who waits for what: each waiter gets one answer, that of a lookup
/// which was valid when it joined.
@Suite struct PendingLookupTests {
  private struct Flight {
    var number: UInt64
    var started: Instant
    var waiters: [Int]
  }

  @Test func everyWaiterGetsOneAnswerOfAValidLookup() {
    for seed in 0..<2000 as Range<UInt64> {
      let note: Comment = "seed \(seed)"
      var random = SeededGenerator(seed: seed)
      var lookups = PendingLookups()
      var flights: [ObjectKey: Flight] = [:]
      var invalidBefore: Instant?
      // By waiter: when the lookup began whose answer it got.
      let answers = Lock<[Int: Instant]>([:])
      var waiting: [Int: Instant?] = [:]
      for step in 1...120 {
        let now = Instant(nanoseconds: UInt64(step))
        let path = ObjectKey("p\(Int.random(in: 0..<3, using: &random))")
        switch Int.random(in: 0..<6, using: &random) {
        case 0: invalidBefore = now
        case 1, 2, 3:
          let waiter: PendingLookup.Waiter = { result in
            answers.withLock {
              #expect($0.updateValue((try? result.get().at) ?? now, forKey: step) == nil, note)
            }
          }
          waiting[step] = invalidBefore
          switch lookups.join(path, validSince: invalidBefore, waiter) {
          case .joined:
            #expect(flights[path].map { $0.started >= invalidBefore ?? $0.started } == true, note)
            flights[path]?.waiters.append(step)
          case .none:
            #expect(flights[path] == nil, note)
            let number = lookups.begin(path, needsDirectory: true, [waiter], now: now)
            flights[path] = Flight(number: number, started: now, waiters: [step])
          case .outdated(let waiters):
            #expect(flights[path]?.waiters.count == waiters.count, note)
            let number = lookups.begin(path, needsDirectory: true, waiters + [waiter], now: now)
            flights[path] = Flight(
              number: number, started: now, waiters: flights[path]!.waiters + [step])
          }
        default:
          guard let flight = flights[path] else { break }
          // A response to an earlier lookup of the path changes nothing.
          let late = lookups.advance(path, number: flight.number &- 1) {
            $0.directory = .success(nil)
          }
          #expect(late == nil, note)
          _ = lookups.advance(path, number: flight.number) { $0.file = .success(nil) }
          guard
            let (answer, waiters) = lookups.advance(
              path, number: flight.number, { $0.directory = .success(nil) })
          else {
            Issue.record("no answer, \(note)")
            break
          }
          #expect(waiters.count == flight.waiters.count, note)
          for waiter in waiters { waiter(answer) }
          for waiter in flight.waiters {
            #expect(answers.withLock { $0[waiter] } == flight.started, note)
            #expect(flight.started >= waiting[waiter]! ?? flight.started, note)
          }
          flights[path] = nil
        }
      }
      let left = lookups.removeAll()
      #expect(left.count == flights.values.map(\.waiters.count).reduce(0, +), note)
    }
  }
}

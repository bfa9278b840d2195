import ObjectStore
import Posix

@testable import Transport

/// What a store does, by chance, and how a transport is set up for it.
struct ModelledStore {
  var configuration = TransportConfiguration()
  /// Of a response: milliseconds, and the share of those that take twenty times as long or never come.
  var latencyMax = 20
  var slowShare = 0.05
  var lostShare = 0.02
  /// Responses other than success: 503, 500, 404, 307 and broken bodies.
  var failureShare = 0.1
  /// All fails between these, milliseconds from the start.
  var outage: Range<Int64>?
  var startShare = 0.5
  var cancelShare = 0.001
  /// Exchanges that must wait for a signal, and that have no request to make.
  var waitShare = 0.05
  var refusalShare = 0.01
  /// Milliseconds from the start of an exchange.
  var deadlines = 50...20_000
  var bytes = 1000

  var isLimited: Bool {
    configuration.maxRequestsPerSecond != nil || configuration.maxBytesPerSecond != nil
  }

  var error: StoreError { StoreError(.unreachable, store: "model", detail: "failed") }
  var failure: Verdict { .retry(cause: error) }

  /// Nothing goes wrong, and each response comes at once.
  static var calm: ModelledStore {
    ModelledStore(
      slowShare: 0, lostShare: 0, failureShare: 0, cancelShare: 0, waitShare: 0, refusalShare: 0)
  }

  /// By the seed: a few at once or many, limits or none, an outage or none.
  static func any(_ random: inout SeededGenerator) -> ModelledStore {
    var store = ModelledStore()
    store.configuration.maxConcurrentTransfers = Int.random(in: 1...40, using: &random)
    store.configuration.firstByteTimeout = .milliseconds(Int.random(in: 50...3000, using: &random))
    store.configuration.maxAttempts = Int.random(in: 2...16, using: &random)
    store.configuration.waitsWhileAway = Bool.random(using: &random)
    store.configuration.adaptsTimeouts = Bool.random(using: &random)
    store.configuration.namesOutageAfter = .milliseconds(Int.random(in: 5...9000, using: &random))
    if Int.random(in: 0..<4, using: &random) == 0 {
      store.configuration.maxRequestsPerSecond = Double.random(in: 5...200, using: &random)
    }
    if Int.random(in: 0..<4, using: &random) == 0 {
      store.configuration.maxBytesPerSecond = Int.random(in: 2000...1_000_000, using: &random)
    }
    if Int.random(in: 0..<3, using: &random) == 0 {
      let start = Int64.random(in: 0...1000, using: &random)
      store.outage = start..<(start + Int64.random(in: 1...30_000, using: &random))
    }
    store.latencyMax = Int.random(in: 1...100, using: &random)
    store.startShare = Double.random(in: 0.1...0.95, using: &random)
    return store
  }

  func transfer(
    of exchange: ExchangeID, at now: Instant, since start: Duration,
    random: inout SeededGenerator
  ) -> ModelledTransfer {
    var latency = Duration.microseconds(Int.random(in: 100...latencyMax * 1000, using: &random))
    if random.chance(slowShare) { latency *= 20 }
    var transfer = ModelledTransfer(
      exchange: exchange, startedAt: now, headAt: now + latency,
      endsAt: now + latency + .microseconds(Int.random(in: 0...5000, using: &random)),
      status: 200, isBroken: false)
    let isAway = outage?.contains(start.milliseconds) ?? false
    if isAway {
      transfer.headAt = nil
      transfer.endsAt = now + latency
      transfer.isBroken = true
    } else if random.chance(lostShare) {
      transfer.headAt = nil
      transfer.endsAt = .distantFuture
    } else if random.chance(failureShare) {
      transfer.status = [200, 307, 404, 500, 503].randomElement(using: &random) ?? 500
      transfer.isBroken = transfer.status == 200
    }
    return transfer
  }

  func verdict(on transfer: ModelledTransfer) -> Verdict {
    guard transfer.answeredAt != nil, !transfer.isBroken else { return failure }
    switch transfer.status {
    case 200: return .succeeded
    case 307: return .again
    case 404: return .failed(StoreError(.notFound, store: "model", detail: "404"))
    case 503:
      return .retry(
        cause: StoreError(.throttled, store: "model", detail: "503"), isThrottle: true)
    default: return failure
    }
  }
}

extension SeededGenerator {
  mutating func chance(_ share: Double) -> Bool { Double.random(in: 0..<1, using: &self) < share }
}

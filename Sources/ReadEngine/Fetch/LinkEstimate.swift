/// What the line to the store can do, learnt from the fetches that went over it, and what follows
/// for a sequence: how much one request asks for, and on how many connections.
///
/// Pure. The figures are those of an undisturbed connection: many at once slow each other down where
/// they share a bottleneck, and to answer that with still more of them would feed on itself.
import Posix

struct LinkEstimate {
  struct Sample {
    /// From the request to the first byte of its answer.
    var firstByte: Duration
    var bytes: Int
    /// From the first byte to the last.
    var transfer: Duration
  }

  struct Advice: Equatable {
    /// What one request of a sequence asks for, bytes.
    var range: Int
    var connections: Int
    /// Worth having ahead of a reader, bytes: every connection at work, and a quarter of that besides,
    /// so that one that is done early need not wait for the reader to come that far.
    var window: Int { range * connections * 5 / 4 }
    /// What all connections bring while one waits for a first byte, bytes.
    var pipe = 0
  }

  /// Of the waits for a first byte, one of the shorter, seconds.
  private(set) var firstByte: Double?
  /// What one connection carried, among the faster, bytes a second.
  private(set) var rate: Double?
  private(set) var advice: Advice
  private let maxConnections: Int
  private let maxRange: Int

  /// A sequence is worth the connections that carry this together, bytes a second: a line of 10 Gb/s,
  /// about.
  static let worthwhileRate = 1e9
  static let connections = 4...32
  static let leastRange = 4 << 20
  /// A request's bytes take so many times its wait for the first of them: ten elevenths of a
  /// connection's time carries data.
  static let transferPerWait = 10.0
  static let mostPipe = 128 << 20
  /// Too few bytes say little of a rate.
  static let leastBytes = 512 << 10

  /// Until something is known: 16 connections with `usualRange` each.
  init(maxConnections: Int, usualRange: Int, maxRange: Int) {
    self.maxConnections = max(2, maxConnections)
    self.maxRange = maxRange
    advice = Advice(
      range: Self.pieces(min(maxRange, usualRange)), connections: min(16, self.maxConnections))
  }

  mutating func note(_ sample: Sample) {
    let wait = max(sample.firstByte.seconds, 1e-5)
    // Towards the low ones fast and away from them slowly: a queue before the store is not the line.
    let old = firstByte ?? wait
    firstByte = old + (wait - old) * (wait < old ? 0.3 : 0.01)
    if sample.bytes >= Self.leastBytes {
      // Where this program lags behind, bytes wait in the socket and then come all at once, which is
      // no rate of the line's: so what the wait was longer than usual counts too.
      let lag = max(0, wait - (firstByte ?? wait))
      let speed = Double(sample.bytes) / max(sample.transfer.seconds + lag, 1e-6)
      let old = rate ?? speed
      // A short transfer tells less: a hiccup or a full socket weighs more in it.
      let weight = 0.5 * min(1, Double(sample.bytes) / Double(8 << 20))
      rate = old + (speed - old) * (speed > old ? weight : 0.002)
    }
    if let firstByte, let rate { advise(firstByte, rate) }
  }

  private mutating func advise(_ firstByte: Double, _ rate: Double) {
    let wanted = Self.powerOfTwo(atLeast: Self.worthwhileRate / rate)
    let most = min(Self.connections.upperBound, maxConnections)
    advice.connections = min(max(wanted, Self.connections.lowerBound), most)
    let range = Self.powerOfTwo(atLeast: Self.transferPerWait * firstByte * rate)
    advice.range = Self.pieces(min(max(range, Self.leastRange), maxRange))
    advice.pipe = Int(min(firstByte * rate * Double(advice.connections), Double(Self.mostPipe)))
  }

  private static func pieces(_ bytes: Int) -> Int {
    max(1, bytes / Geometry.pieceSize) * Geometry.pieceSize
  }

  private static func powerOfTwo(atLeast value: Double) -> Int {
    var power = 1
    while Double(power) < value, power < 1 << 40 { power *= 2 }
    return power
  }
}

import Glibc
import Posix

/// What a store does wrong with one request.
public enum Fault: Sendable, Equatable {
  /// Nothing for so long, then the answer.
  case late(seconds: Double)
  /// The body at this pace.
  case slow(bytesPerSecond: Double)
  /// This share of the body, and then nothing more while the client holds on.
  case stall(after: Double)
  /// This share of the body, and then a reset.
  case reset(after: Double)
  /// This share of the body, and then an orderly end of the connection.
  case truncated(after: Double)
  /// Another ETag than the object's, If-Match or not.
  case otherETag
  /// A Content-Length that is so much more than the truth, and a body of that length.
  case wrongLength(more: Int)
  /// A Content-Range of the bytes behind those asked for.
  case wrongRange
  case flippedBit
  /// An error with its XML; `retryAfter` in seconds.
  case status(Int, code: String, retryAfter: Int? = nil)
  /// 200, and an error in the body.
  case errorAfter200
  /// The store's clock is ahead by so many seconds, and it refuses whoever's is not.
  case skewedClock(by: Int)
  /// 200, and bytes that are nothing.
  case garbage
  /// 200, and a listing that never ends.
  case endlessListing
  /// A listing whose continuation token is the one that was sent.
  case loopingToken
  /// A listing of so many folders in one page.
  case manyPrefixes(Int)
  /// A head of so many bytes.
  case hugeHead(Int)
  /// No byte while the client holds on.
  case silence
  /// A bucket of objects whose sizes are as stated, whatever they are; a GET of a range gives synthetic bytes.
  case stated([String: String])
}

/// A request, for those who decide what goes wrong with it.
public struct FaultedRequest: Sendable {
  public let method: String
  /// The object's key; empty for a listing.
  public let key: String
  public var isListing: Bool { key.isEmpty && method == "GET" }
  /// Names in lower case.
  public let headers: [String: String]
  /// Decoded.
  public let query: [String: String]
  /// How many of the same method came for the same key before.
  public let number: Int
}

/// Decides, by a script or by chance.
public final class FaultPlan: Sendable {
  public typealias Decision = @Sendable (FaultedRequest) -> Fault?

  private struct State {
    var counts: [String: Int] = [:]
    var injected = 0
  }

  private let decide: Decision
  private let state = Lock(State())

  public init(_ decide: @escaping Decision) { self.decide = decide }

  /// Each of `faults` with this probability, from a seed.
  public static func random(
    _ faults: [Fault], each rate: Double, seed: UInt64,
    where isMeant: @escaping @Sendable (FaultedRequest) -> Bool = { _ in true }
  ) -> FaultPlan {
    let random = Lock(SeededGenerator(seed: seed))
    return FaultPlan { request in
      guard isMeant(request) else { return nil }
      let point = random.withLock { Double.random(in: 0..<1, using: &$0) }
      let index = Int(point / rate)
      return index < faults.count ? faults[index] : nil
    }
  }

  /// How often something went wrong.
  public var injected: Int { state.withLock { $0.injected } }

  func fault(_ request: Request, _ key: String) -> Fault? {
    let method = request.method
    let number = state.withLock { state in
      defer { state.counts["\(method) \(key)", default: 0] += 1 }
      return state.counts["\(method) \(key)", default: 0]
    }
    let fault = decide(
      FaultedRequest(
        method: method, key: key, headers: request.headers,
        query: Dictionary(request.query.map { ($0.name, $0.value) }) { first, _ in first },
        number: number))
    if fault != nil { state.withLock { $0.injected += 1 } }
    return fault
  }
}

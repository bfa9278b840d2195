import Credentials
import Metrics
import ObjectStore
import Posix
import TestSupport
import Testing
import Transport

@testable import Stores

/// What stores say of contents, against Python's and the published check values.
@Suite struct StoreChecksumTests {
  private static func hex(_ text: String) -> [UInt8] {
    stride(from: 0, to: text.count, by: 2).map {
      UInt8(text.dropFirst($0).prefix(2), radix: 16)!
    }
  }

  private func holds(
    _ algorithm: StoreChecksum.Algorithm, _ expected: [UInt8], _ bytes: [UInt8], by step: Int
  ) -> Bool {
    var checksum = StoreChecksum(algorithm, expected: expected)
    for start in stride(from: 0, to: bytes.count, by: step) {
      bytes[start..<min(start + step, bytes.count)].withUnsafeBytes { checksum.update($0) }
    }
    return checksum.holds
  }

  /// Of "123456789": the catalogue of CRC algorithms (reveng), RFC 1321, FIPS 180.
  @Test(arguments: [
    (StoreChecksum.Algorithm.crc32c, "e3069283"), (.crc32, "cbf43926"),
    (.crc64nvme, "ae8b14860a799888"), (.md5, "25f9e794323b453885f5181f1b624d0b"),
    (.sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
    (.sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
  ])
  func checkValuesHold(algorithm: StoreChecksum.Algorithm, digits: String) {
    let text = Array("123456789".utf8)
    for step in 1...9 {
      #expect(holds(algorithm, Self.hex(digits), text, by: step))
      #expect(!holds(algorithm, Self.hex(digits), text + [0], by: step))
    }
  }

  @Test func aFlippedBitIsSeenWhereverItIs() {
    var random = SeededGenerator(seed: 7)
    let bytes = (0..<4099).map { _ in UInt8.random(in: 0...255, using: &random) }
    for algorithm in [StoreChecksum.Algorithm.crc32c, .crc32, .crc64nvme] {
      // The value of one step is the oracle of all other cuttings, and of every damage.
      let width = algorithm == .crc64nvme ? 8 : 4
      let value = bitwise(algorithm, bytes, width: width)
      for step in [1, 7, 8, 64, 1000, 4099] { #expect(holds(algorithm, value, bytes, by: step)) }
      for _ in 0..<200 {
        var damaged = bytes
        damaged[Int.random(in: 0..<bytes.count, using: &random)] ^=
          1
          << UInt8.random(
            in: 0...7, using: &random)
        #expect(!holds(algorithm, value, damaged, by: 500))
      }
    }
  }

  /// The checksum of `bytes`, computed bit by bit.
  private func bitwise(
    _ algorithm: StoreChecksum.Algorithm, _ bytes: [UInt8], width: Int
  ) -> [UInt8] {
    let polynomial: UInt64 =
      switch algorithm {
      case .crc32: 0xEDB8_8320
      case .crc32c: 0x82F6_3B78
      default: 0x9A6C_9329_AC4B_C9B5
      }
    let mask: UInt64 = width == 8 ? .max : 0xFFFF_FFFF
    var crc = mask
    for byte in bytes {
      crc ^= UInt64(byte)
      for _ in 0..<8 { crc = crc & 1 == 1 ? (crc >> 1) ^ polynomial : crc >> 1 }
    }
    crc ^= mask
    return (0..<width).reversed().map { UInt8(truncatingIfNeeded: crc >> UInt64(8 * $0)) }
  }

  private func head(_ headers: [(name: String, value: String)]) -> HTTPResponseHead {
    HTTPResponseHead(status: 200, headers: headers)
  }

  @Test func onlyWhatIsOfTheWholeObjectCounts() {
    #expect(
      StoreChecksum(head([("x-amz-checksum-crc32", "y/Q5Jg==")]), takesETag: false)?.algorithm
        == .crc32)
    let composite = head([
      ("x-amz-checksum-crc32", "y/Q5Jg=="), ("x-amz-checksum-type", "COMPOSITE"),
    ])
    #expect(StoreChecksum(composite, takesETag: false) == nil)
    for value in ["y/Q5Jg==-7", "y/Q5", "", "y/Q5Jg=", "y/Q5J===", "!!!!!!=="] {
      #expect(StoreChecksum(head([("x-amz-checksum-crc32", value)]), takesETag: false) == nil)
    }
    let md5 = ("etag", "\"25f9e794323b453885f5181f1b624d0b\"")
    #expect(StoreChecksum(head([md5]), takesETag: false) == nil)
    #expect(StoreChecksum(head([md5]), takesETag: true)?.algorithm == .md5)
    for encryption in [
      ("x-amz-server-side-encryption", "aws:kms"),
      ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
    ] {
      #expect(StoreChecksum(head([md5, encryption]), takesETag: true) == nil)
    }
    let parts = head([("etag", "\"25f9e794323b453885f5181f1b624d0b-3\"")])
    #expect(StoreChecksum(parts, takesETag: true) == nil)
  }

  // MARK: The exchange

  private final class Sink: FetchSink {
    struct Told {
      var bytes: [UInt8] = []
      var beginnings = 0
    }
    let told = Lock(Told())
    var isAwaited: Bool { true }
    func waitedForLimit(_ time: Duration) {}
    func beginVerified() {
      told.withLock {
        $0.bytes = []
        $0.beginnings += 1
      }
    }
    func receive(_ received: UnsafeRawBufferPointer) { told.withLock { $0.bytes += received } }
    func finish(_ result: Result<Void, StoreError>) {}
  }

  private struct Rig {
    let metrics = Metrics()
    let sink = Sink()
    let exchange: S3FetchExchange

    init() throws {
      let version = ObjectVersion(key: ObjectKey("k"), etag: "\"e\"", size: 9, modified: 0)
      exchange = S3FetchExchange(
        FetchRequest(version: version, range: 0..<9, deadline: .distantFuture),
        site: try S3Site(options: S3Options(bucket: "data"), credentials: FixedCredentials(nil)),
        metrics: metrics.store, sink: sink)
    }

    /// One attempt that is answered with `text`.
    func answer(_ text: String) throws -> Verdict {
      let request = try exchange.nextRequest(attempt: 0).get()
      #expect(!request.headers.contains { $0.name == "range" })
      #expect(request.headers.contains { $0.name == "x-amz-checksum-mode" })
      let head = HTTPResponseHead(
        status: 200,
        headers: [
          ("etag", "\"e\""), ("content-length", "9"), ("x-amz-checksum-crc32", "y/Q5Jg=="),
        ])
      guard case .stream = exchange.receive(head: head) else { return .again }
      #expect(Array(text.utf8).withUnsafeBytes { exchange.receive(body: $0) })
      return exchange.attemptEnded(.response(head, body: []))
    }
  }

  @Test func aMismatchIsFetchedOnceMore() throws {
    let rig = try Rig()
    guard case .retry(let cause, _, _) = try rig.answer("12345678X") else {
      return #expect(Bool(false))
    }
    #expect(cause.description.contains("crc32"))
    guard case .succeeded = try rig.answer("123456789") else { return #expect(Bool(false)) }
    #expect(rig.sink.told.withLock { $0.bytes } == Array("123456789".utf8))
    #expect(rig.sink.told.withLock { $0.beginnings } == 2)
    #expect(rig.metrics.store.checksumMismatches.count == 1)
  }

  @Test func aSecondMismatchIsAnError() throws {
    let rig = try Rig()
    _ = try rig.answer("12345678X")
    guard case .failed(let error) = try rig.answer("X23456789") else {
      return #expect(Bool(false))
    }
    #expect(error.kind == .badReply)
  }
}

import Formats
import Posix
import Testing

/// Checksums of contents, against Python's and the published check values.
@Suite struct StoreChecksumTests {
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
      #expect(holds(algorithm, Hex.decode(digits.utf8)!, text, by: step))
      #expect(!holds(algorithm, Hex.decode(digits.utf8)!, text + [0], by: step))
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
}

import CEngineShim
import Crypto

/// What a store says of an object's whole content, and the same of the bytes that have come so far.
///
/// Only checksums of the full object count: those of multipart uploads that are made of the parts'
/// checksums ("…-7") cannot be had from the bytes alone.
public struct StoreChecksum: Sendable {
  /// Objects up to this size, bytes, are verified as a whole before a byte of them counts. Larger ones come in several
  /// ranges, of which stores keep no checksums.
  public static let verifiedSize: UInt64 = 1 << 20

  /// By the names that S3's headers have.
  public enum Algorithm: String, CaseIterable, Sendable {
    // The cheapest to compute comes first: one is enough.
    case crc32c, crc64nvme, crc32, sha1, sha256, md5

    /// Bytes.
    public var length: Int {
      switch self {
      case .crc32c, .crc32: 4
      case .crc64nvme: 8
      case .sha1: 20
      case .sha256: 32
      case .md5: 16
      }
    }
  }

  private enum Running {
    case crc32c(UInt32)
    case crc64nvme(UInt64)
    case crc32(UInt32)
    case sha1(Insecure.SHA1)
    case sha256(SHA256)
    case md5(Insecure.MD5)
  }

  /// Which of them it is.
  public let algorithm: Algorithm
  private let expected: [UInt8]
  private var running: Running

  /// `expected`: the checksum, most significant byte first; `Algorithm.length` bytes.
  public init(_ algorithm: Algorithm, expected: [UInt8]) {
    self.algorithm = algorithm
    self.expected = expected
    running = Self.start(algorithm)
  }

  /// More of the content, in order.
  public mutating func update(_ bytes: UnsafeRawBufferPointer) {
    switch running {
    case .crc32c(let crc): running = .crc32c(millrace_crc32c(crc, bytes.baseAddress, bytes.count))
    case .crc64nvme(let crc):
      running = .crc64nvme(millrace_crc64nvme(crc, bytes.baseAddress, bytes.count))
    case .crc32(let crc): running = .crc32(millrace_crc32(crc, bytes.baseAddress, bytes.count))
    case .sha1(var hash):
      hash.update(bufferPointer: bytes)
      running = .sha1(hash)
    case .sha256(var hash):
      hash.update(bufferPointer: bytes)
      running = .sha256(hash)
    case .md5(var hash):
      hash.update(bufferPointer: bytes)
      running = .md5(hash)
    }
  }

  /// The content comes again from its start.
  public mutating func restart() { running = Self.start(algorithm) }

  /// The bytes so far are the whole content, as the store knows it.
  public var holds: Bool { value == expected }

  private var value: [UInt8] {
    switch running {
    case .crc32c(let crc), .crc32(let crc): withUnsafeBytes(of: crc.bigEndian) { Array($0) }
    case .crc64nvme(let crc): withUnsafeBytes(of: crc.bigEndian) { Array($0) }
    case .sha1(let hash): Array(hash.finalize())
    case .sha256(let hash): Array(hash.finalize())
    case .md5(let hash): Array(hash.finalize())
    }
  }

  private static func start(_ algorithm: Algorithm) -> Running {
    switch algorithm {
    case .crc32c: .crc32c(0)
    case .crc64nvme: .crc64nvme(0)
    case .crc32: .crc32(0)
    case .sha1: .sha1(Insecure.SHA1())
    case .sha256: .sha256(SHA256())
    case .md5: .md5(Insecure.MD5())
    }
  }

  /// The digest that an ETag is, in quotes and in hexadecimal; nil: it has another form.
  public static func digest(ofETag etag: String, length: Int) -> [UInt8]? {
    guard etag.utf8.count == 2 * length + 2, etag.hasPrefix("\""), etag.hasSuffix("\"") else {
      return nil
    }
    return Hex.decode(etag.utf8.dropFirst().dropLast())
  }
}

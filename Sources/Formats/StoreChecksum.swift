import CEngineShim
import Credentials
import Crypto
import Transport

/// What a store says of an object's whole content, and the same of the bytes that have come so far.
///
/// Only checksums of the full object count: those of multipart uploads that are made of the parts'
/// checksums ("…-7") cannot be had from the bytes alone.
struct StoreChecksum {
  enum Algorithm: String, CaseIterable {
    // The cheapest to compute comes first: one is enough.
    case crc32c, crc64nvme, crc32, sha1, sha256, md5
  }

  private enum Running {
    case crc32c(UInt32)
    case crc64nvme(UInt64)
    case crc32(UInt32)
    case sha1(Insecure.SHA1)
    case sha256(SHA256)
    case md5(Insecure.MD5)
  }

  let algorithm: Algorithm
  private let expected: [UInt8]
  private var running: Running

  /// `nil`: the answer says nothing that can be compared. `takesETag`: an ETag that has the form of an
  /// MD5 is one.
  init?(_ head: HTTPResponseHead, takesETag: Bool) {
    if head["x-amz-checksum-type"]?.uppercased() != "COMPOSITE" {
      for algorithm in Algorithm.allCases {
        if let text = head["x-amz-checksum-\(algorithm.rawValue)"], let sum = Base64.decode(text),
          sum.count == Self.length(algorithm)
        {
          self.init(algorithm, expected: sum)
          return
        }
      }
    }
    guard takesETag, let sum = Self.md5(ofETag: head) else { return nil }
    self.init(.md5, expected: sum)
  }

  init(_ algorithm: Algorithm, expected: [UInt8]) {
    self.algorithm = algorithm
    self.expected = expected
    running = Self.start(algorithm)
  }

  mutating func update(_ bytes: UnsafeRawBufferPointer) {
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
  mutating func restart() { running = Self.start(algorithm) }

  /// The bytes so far are the whole content, as the store knows it.
  var holds: Bool { value == expected }

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

  private static func length(_ algorithm: Algorithm) -> Int {
    switch algorithm {
    case .crc32c, .crc32: 4
    case .crc64nvme: 8
    case .sha1: 20
    case .sha256: 32
    case .md5: 16
    }
  }

  /// The ETag is the MD5 of the content unless it came in parts or is encrypted by a key of KMS or of the
  /// customer's.
  private static func md5(ofETag head: HTTPResponseHead) -> [UInt8]? {
    if head["x-amz-server-side-encryption"]?.lowercased().hasPrefix("aws:kms") == true {
      return nil
    }
    if head["x-amz-server-side-encryption-customer-algorithm"] != nil { return nil }
    return head["etag"].flatMap { digest(ofETag: $0, length: 16) }
  }

  /// Of an ETag that is a digest in hexadecimal.
  static func sha256(ofETag etag: String) -> [UInt8]? { digest(ofETag: etag, length: 32) }

  private static func digest(ofETag etag: String, length: Int) -> [UInt8]? {
    guard etag.utf8.count == 2 * length + 2, etag.hasPrefix("\""), etag.hasSuffix("\"") else {
      return nil
    }
    var sum: [UInt8] = []
    var high: UInt8?
    for digit in etag.utf8.dropFirst().dropLast() {
      guard let value = Character(Unicode.Scalar(digit)).hexDigitValue else { return nil }
      if let known = high {
        sum.append(known << 4 | UInt8(value))
        high = nil
      } else {
        high = UInt8(value)
      }
    }
    return sum
  }
}

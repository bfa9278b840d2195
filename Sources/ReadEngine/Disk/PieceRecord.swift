import CEngineShim
import ObjectStore

/// What is kept of each piece on disk, 8 bytes: its checksum, and the generation of the cache folder
/// in which it was written (0: no such piece).
struct PieceRecord: Equatable {
  static let size = 8

  var crc: UInt32
  var stamp: UInt32

  static func crc(of bytes: UnsafeRawBufferPointer) -> UInt32 {
    millrace_crc32c(0, bytes.baseAddress, bytes.count)
  }
}

/// The head of a sidecar file: which version its records are of. Little-endian; the records follow
/// at `recordsOffset`, one a piece.
struct SidecarHeader: Equatable {
  private static let magic: [UInt8] = Array("MILLRACE".utf8)
  private static let format: UInt32 = 1
  private static let fixedSize = 48
  private static let alignment = 4096

  var version: ObjectVersion

  var encoded: [UInt8] {
    var bytes = Self.magic
    bytes.append(littleEndian: Self.format)
    bytes.append(littleEndian: UInt32(Geometry.pieceSize))
    bytes.append(littleEndian: version.size)
    bytes.append(littleEndian: UInt64(bitPattern: version.modified))
    bytes.append(littleEndian: UInt32(version.key.bytes.count))
    bytes.append(littleEndian: UInt32(version.etag.utf8.count))
    bytes.append(littleEndian: UInt64(0))  // reserved
    bytes += version.key.bytes
    bytes += version.etag.utf8
    bytes.append(littleEndian: bytes.withUnsafeBytes { PieceRecord.crc(of: $0) })
    return bytes
  }

  /// Where the records start: the head rounded up to a block.
  var recordsOffset: Int {
    let length = Self.fixedSize + version.key.bytes.count + version.etag.utf8.count + 4
    return (length + Self.alignment - 1) / Self.alignment * Self.alignment
  }

  /// Whether `bytes`, the beginning of a file, are the head of this very version.
  func matches(_ bytes: UnsafeRawBufferPointer) -> Bool {
    let expected = encoded
    return bytes.count >= expected.count && bytes.prefix(expected.count).elementsEqual(expected)
  }
}

/// The record of a small object, kept as an extended attribute of its file: stamp, size, and a
/// checksum a piece. Short enough to lie in the inode.
struct SmallRecord: Equatable {
  static let attributeName = "user.millrace"
  private static let magic: UInt32 = 0x3152_4c4d  // "MLR1"

  var stamp: UInt32
  var size: UInt64
  var checksums: [UInt32]

  var encoded: [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(littleEndian: Self.magic)
    bytes.append(littleEndian: stamp)
    bytes.append(littleEndian: size)
    for checksum in checksums { bytes.append(littleEndian: checksum) }
    return bytes
  }

  init(stamp: UInt32, size: UInt64, checksums: [UInt32]) {
    self.stamp = stamp
    self.size = size
    self.checksums = checksums
  }

  init?(_ bytes: UnsafeRawBufferPointer) {
    guard bytes.count >= 16, bytes.count % 4 == 0, bytes.word(at: 0) == Self.magic else {
      return nil
    }
    stamp = bytes.word(at: 4)
    size = UInt64(bytes.word(at: 8)) | UInt64(bytes.word(at: 12)) << 32
    checksums = stride(from: 16, to: bytes.count, by: 4).map { bytes.word(at: $0) }
    guard stamp > 0, size <= Geometry.smallObjectLimit,
      checksums.count == Geometry.pieceCount(ofSize: size)
    else { return nil }
  }
}

extension UnsafeRawBufferPointer {
  fileprivate func word(at offset: Int) -> UInt32 {
    UInt32(littleEndian: loadUnaligned(fromByteOffset: offset, as: UInt32.self))
  }
}

extension [UInt8] {
  fileprivate mutating func append(littleEndian value: some FixedWidthInteger) {
    Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
  }
}

/// The copy of one version on disk: a sparse mirror, byte n of the object is byte n of the file.
///
/// A small object is written in one go and renamed into place, its record an extended attribute.
/// A large one grows piece by piece beside a sidecar of records; a piece's bytes are written before
/// its record, so that a record never speaks of bytes that are not there.
///
/// Descriptors may be read and written from several threads; who writes what is the caller's order
/// (one writer a file).
import CEngineShim
import Glibc
import ObjectStore
import Posix
import SystemPackage

final class CacheFile: Sendable {
  enum Form {
    /// The records of all pieces.
    case small(SmallRecord)
    case large(sidecar: OwnedFile, recordsOffset: Int)
  }

  let version: ObjectVersion
  let form: Form
  private let data: OwnedFile

  var descriptor: CInt { data.raw }

  private init(_ version: ObjectVersion, _ data: OwnedFile, _ form: Form) {
    self.version = version
    self.data = data
    self.form = form
  }

  // MARK: Opening

  /// Opens what is there of this version. `nil`: nothing, or nothing that can be used; what was
  /// unusable is removed. Throws where this cannot be determined (no descriptor left, a broken disk).
  static func open(
    _ version: ObjectVersion, _ id: FileID, in folder: CacheFolder
  ) throws(Errno) -> CacheFile? {
    guard let data = try openIfThere(folder.name(of: id), folder) else { return nil }
    if let file = try openSmall(version, data) { return file }
    if let sidecar = try openIfThere(folder.sidecarName(of: id), folder),
      let file = openLarge(version, data, sidecar)
    {
      return file
    }
    remove(id, in: folder)
    return nil
  }

  private static func openIfThere(
    _ name: String, _ folder: CacheFolder
  ) throws(Errno) -> OwnedFile? {
    do throws(Errno) {
      return try OwnedFile { () throws(Errno) in try folder.files.open(name, O_RDWR) }
    } catch {
      if error != .noSuchFileOrDirectory { throw error }
      return nil
    }
  }

  /// No record of a small object, as opposed to one that cannot be read now.
  static func meansNoRecord(_ reason: Errno) -> Bool {
    // ERANGE: longer than any of ours.
    [.noData, .notSupported, .outOfRange].contains(reason)
  }

  private static func openSmall(
    _ version: ObjectVersion, _ data: OwnedFile
  ) throws(Errno) -> CacheFile? {
    var bytes = [UInt8](repeating: 0, count: 256)
    let count = fgetxattr(data.raw, SmallRecord.attributeName, &bytes, bytes.count)
    if count < 0 {
      let reason = Errno.last
      if meansNoRecord(reason) { return nil }
      throw reason
    }
    guard let record = bytes[..<count].withUnsafeBytes({ SmallRecord($0) }),
      record.size == version.size, data.size == version.size
    else { return nil }
    return CacheFile(version, data, .small(record))
  }

  private static func openLarge(
    _ version: ObjectVersion, _ data: OwnedFile, _ sidecar: OwnedFile
  ) -> CacheFile? {
    guard data.size == version.size else { return nil }
    let header = SidecarHeader(version: version)
    let length = header.recordsOffset
    let matches = withUnsafeTemporaryAllocation(byteCount: length, alignment: 8) { buffer in
      let count = pread(sidecar.raw, buffer.baseAddress, length, 0)
      return count > 0 && header.matches(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
    }
    guard matches else { return nil }
    return CacheFile(version, data, .large(sidecar: sidecar, recordsOffset: length))
  }

  // MARK: Making

  /// Makes the empty mirror of a large object and its sidecar.
  static func create(
    _ version: ObjectVersion, _ id: FileID, in folder: CacheFolder
  ) throws(Errno) -> CacheFile {
    folder.makeParent(of: id)
    // Never truncated: a process may have a file of this name mapped.
    remove(id, in: folder)
    let data = try OwnedFile { () throws(Errno) in try folder.files.create(folder.name(of: id)) }
    guard ftruncate(data.raw, off_t(version.size)) == 0 else { throw Errno.last }
    let sidecar = try OwnedFile { () throws(Errno) in
      try folder.files.create(folder.sidecarName(of: id))
    }
    let header = SidecarHeader(version: version)
    try sidecar.write(header.encoded, at: 0)
    return CacheFile(version, data, .large(sidecar: sidecar, recordsOffset: header.recordsOffset))
  }

  /// Writes a small object whole: bytes, record, then its name.
  static func store(
    _ version: ObjectVersion, _ id: FileID, in folder: CacheFolder, pieces: [UnsafeRawBufferPointer]
  ) throws(Errno) -> CacheFile {
    let temporary = folder.temporaryName(of: id)
    do throws(Errno) {
      let data = try OwnedFile { () throws(Errno) in try folder.files.create(temporary) }
      _ = millrace_allocate(data.raw, 0, off_t(version.size))
      try data.write(pieces, at: 0)
      let record = SmallRecord(
        stamp: folder.generation, size: version.size, checksums: pieces.map(PieceRecord.crc))
      let bytes = record.encoded
      guard fsetxattr(data.raw, SmallRecord.attributeName, bytes, bytes.count, 0) == 0 else {
        throw Errno.last
      }
      folder.makeParent(of: id)
      try folder.files.rename(temporary, to: folder.name(of: id))
      return CacheFile(version, data, .small(record))
    } catch {
      folder.files.remove(temporary)
      throw error
    }
  }

  static func remove(_ id: FileID, in folder: CacheFolder) {
    // The sidecar first: mirror bytes without records are nothing, records without bytes a lie.
    folder.files.remove(folder.sidecarName(of: id))
    folder.files.remove(folder.name(of: id))
  }

  // MARK: Pieces

  /// Gives a range its blocks: at once they cost half of what ext4 takes to reserve them page by page, and
  /// they lie together, though ranges are written in turns. Where it fails the write will say why.
  func allocate(_ bytes: Range<UInt64>) {
    _ = millrace_allocate(data.raw, off_t(bytes.lowerBound), off_t(bytes.count))
  }

  /// Writes consecutive pieces from `first` on, then their records.
  func write(
    _ pieces: [UnsafeRawBufferPointer], from first: Int, stamp: UInt32
  ) throws(Errno) {
    guard case .large(let sidecar, let offset) = form else { throw .invalidArgument }
    let start = Geometry.start(ofPiece: first)
    allocate(start..<start + UInt64(pieces.reduce(0) { $0 + $1.count }))
    try data.write(pieces, at: start)
    let records = pieces.map { PieceRecord(crc: PieceRecord.crc(of: $0), stamp: stamp) }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(records.count * PieceRecord.size)
    for record in records {
      withUnsafeBytes(of: record.crc.littleEndian) { bytes.append(contentsOf: $0) }
      withUnsafeBytes(of: record.stamp.littleEndian) { bytes.append(contentsOf: $0) }
    }
    try sidecar.write(bytes, at: UInt64(offset + first * PieceRecord.size))
  }

  /// The record of a piece; `nil` where there is none or it cannot be read.
  func record(ofPiece piece: Int) -> PieceRecord? {
    switch form {
    case .small(let record):
      return PieceRecord(crc: record.checksums[piece], stamp: record.stamp)
    case .large(let sidecar, let offset):
      var words: (UInt32, UInt32) = (0, 0)
      let count = withUnsafeMutableBytes(of: &words) {
        pread(sidecar.raw, $0.baseAddress, $0.count, off_t(offset + piece * PieceRecord.size))
      }
      guard count == PieceRecord.size, words.1 != 0 else { return nil }
      return PieceRecord(crc: UInt32(littleEndian: words.0), stamp: UInt32(littleEndian: words.1))
    }
  }

  /// Takes the record of a piece away, so that no later start believes in it.
  func dropRecord(ofPiece piece: Int) {
    guard case .large(let sidecar, let offset) = form else { return }
    let zeros = [UInt8](repeating: 0, count: PieceRecord.size)
    try? sidecar.write(zeros, at: UInt64(offset + piece * PieceRecord.size))
  }

  /// Bytes that the files occupy on disk.
  var allocatedBytes: UInt64 {
    if case .large(let sidecar, _) = form { return data.allocatedBytes + sidecar.allocatedBytes }
    return data.allocatedBytes
  }
}

/// A descriptor that is closed with its last reference.
final class OwnedFile: Sendable {
  let raw: CInt

  /// Takes what `open` opens on the account of the cache. Throws EMFILE once its share is used up.
  init(_ open: () throws(Errno) -> OwnedDescriptor) throws(Errno) {
    raw = try CacheDescriptors.take(open)
  }

  deinit { CacheDescriptors.close(raw) }

  private var status: stat {
    var status = stat()
    fstat(raw, &status)
    return status
  }

  var size: UInt64 { UInt64(status.st_size) }
  var allocatedBytes: UInt64 { UInt64(status.st_blocks) * 512 }

  func write(_ bytes: [UInt8], at offset: UInt64) throws(Errno) {
    let failure: Errno? = bytes.withUnsafeBytes { buffer in
      do throws(Errno) { try write([buffer], at: offset) } catch { return error }
      return nil
    }
    if let failure { throw failure }
  }

  /// IOV_MAX of Linux, a macro that Swift does not see.
  private static let maxVectors = 1024

  /// Writes all of it, one buffer after the other.
  func write(_ buffers: [UnsafeRawBufferPointer], at offset: UInt64) throws(Errno) {
    var position = off_t(offset)
    var vectors = buffers.map {
      iovec(iov_base: UnsafeMutableRawPointer(mutating: $0.baseAddress), iov_len: $0.count)
    }[...]
    while !vectors.isEmpty {
      let batch = Array(vectors.prefix(Self.maxVectors))
      var written = pwritev(raw, batch, CInt(batch.count), position)
      if written < 0 {
        if errno == EINTR { continue }
        throw Errno.last
      }
      position += off_t(written)
      while let first = vectors.first, written >= first.iov_len {
        written -= first.iov_len
        vectors.removeFirst()
      }
      if written > 0, var first = vectors.first {
        first.iov_base += written
        first.iov_len -= written
        vectors[vectors.startIndex] = first
      }
    }
  }
}

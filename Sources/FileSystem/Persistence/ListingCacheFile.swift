import CEngineShim
import Glibc
import ObjectStore
import Posix

/// Listings kept on disk from one mount to the next: a file of records, one a chunk, each with a
/// checksum, in this machine's own byte order.
///
/// Heads are read when the file is opened, the names of a folder when it is first wanted: into memory and not by
/// a mapping, so that a file that is cut off, or a disk that fails, costs a listing and not the process. A
/// checksum shows damage and no ill will, so everything that a record states is checked as well. What is
/// damaged, too old or of another layout is as if it were not there.
final class ListingCacheFile {
  /// Before each chunk: where it belongs and how long it is.
  struct Head {
    static let magic: UInt32 = 0x4d4c_4e31  // "1NLM": a new layout is a new number
    static let size = MemoryLayout<Head>.size
    var magic = Head.magic
    /// Of all that follows the head.
    var checksum: UInt32 = 0
    /// Nanoseconds since 1970, when the listing was begun.
    var started: Int64 = 0
    var digest: UInt64 = 0
    var keyLength: UInt32 = 0
    var entryCount: UInt32 = 0
    var blobLength: UInt32 = 0
    var hidden: UInt32 = 0
    /// From 0; the last one of a listing says so.
    var chunk: UInt32 = 0
    var isLast: UInt32 = 0

    var bodyLength: Int {
      Int(keyLength) + Int(entryCount) * MemoryLayout<DirentBlock.Entry>.stride + Int(blobLength)
    }

    /// Within what `write` makes: no record takes more memory than one of ours.
    var isPossible: Bool {
      magic == Head.magic && keyLength <= ListingCacheFile.keyLimit
        && entryCount <= DirentBlock.Filling.countLimit
        && blobLength <= DirentBlock.Filling.blobLimit + DirentBlock.Filling.entryLimit
        && started >= 0 && isLast <= 1
    }
  }

  /// A record as it lies in the file, head and body.
  struct Record {
    fileprivate var head: Head
    /// Where the head starts.
    fileprivate var start: Int

    fileprivate var bodyStart: Int { start + Head.size }
    /// Bytes of head and body.
    var length: Int { Head.size + head.bodyLength }
  }

  /// Bytes of a folder's key: four times what a path has.
  static let keyLimit = 16 << 10
  /// Records of one file; more is not ours.
  private static let recordLimit = 4 << 20

  private let file: OwnedDescriptor
  private var records: [ObjectKey: [Record]] = [:]

  var isEmpty: Bool { records.isEmpty }

  /// Nil if there is no such file. `oldest`: nanoseconds since 1970; what was listed before is left out.
  init?(_ place: ListingsFile, oldest: Int64, now: Int64) {
    guard let file = try? place.folder.open(place.name, O_RDONLY) else { return nil }
    var status = stat()
    guard fstat(file.raw, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
    let length = Int(status.st_size)
    self.file = file
    var position = 0
    var count = 0
    while count < Self.recordLimit, let (record, key) = record(at: position, fileLength: length) {
      position += record.length
      count += 1
      // A clock that was set back says nothing of ages.
      guard record.head.started >= oldest, record.head.started <= now else { continue }
      records[key, default: []].append(record)
    }
  }

  /// The head at a place of the file, and the key after it: most keys come with the same read.
  private func record(at position: Int, fileLength: Int) -> (Record, ObjectKey)? {
    var bytes = read(at: position, count: min(Head.size + 256, fileLength - position))
    guard bytes.count > Head.size else { return nil }
    let head = bytes.withUnsafeBytes { $0.loadUnaligned(as: Head.self) }
    guard head.isPossible, head.bodyLength <= fileLength - position - Head.size else { return nil }
    let end = Head.size + Int(head.keyLength)
    if bytes.count < end { bytes = read(at: position, count: end) }
    guard bytes.count >= end else { return nil }
    return (
      Record(head: head, start: position), ObjectKey(bytes: Array(bytes[Head.size..<end]))
    )
  }

  /// What is there of so many bytes; fewer at the end of the file, or where the disk fails.
  private func read(at position: Int, count: Int) -> [UInt8] {
    guard count > 0 else { return [] }
    return [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      while filled < count {
        let got = pread(
          file.raw, buffer.baseAddress! + filled, count - filled, off_t(position + filled))
        if got < 0, errno == EINTR { continue }
        guard got > 0 else { return }
        filled += got
      }
    }
  }

  struct Listing {
    var entries: DirentTable
    var hidden: Int
    /// Nanoseconds since 1970.
    var started: Int64
  }

  /// The records that were not requested yet.
  func records(since oldest: Int64) -> [Record] {
    records.values.joined().filter { $0.head.started >= oldest }
  }

  /// The directories that were not requested yet.
  var folders: [ObjectKey] { Array(records.keys) }

  func drop(below prefix: ObjectKey) {
    records = records.filter { !$0.key.hasPrefix(prefix) }
  }

  func has(_ folder: ObjectKey) -> Bool { records[folder] != nil }

  /// The listing of a folder, once: after that the file system has it.
  func take(_ folder: ObjectKey) -> Listing? {
    guard let parts = records.removeValue(forKey: folder), let first = parts.first,
      parts.last?.head.isLast == 1
    else { return nil }
    var chunks: [DirentBlock] = []
    for (index, part) in parts.enumerated() {
      guard part.head.chunk == UInt32(index), part.head.started == first.head.started,
        part.head.isLast == (index == parts.count - 1 ? 1 : 0), let chunk = chunk(part, of: folder)
      else { return nil }
      if chunk.count == 0 { continue }
      if let last = chunks.last, !Self.follows(chunk, last) { return nil }
      chunks.append(chunk)
    }
    return Listing(
      entries: DirentTable(chunks, digest: first.head.digest), hidden: Int(first.head.hidden),
      started: first.head.started)
  }

  private static func follows(_ chunk: DirentBlock, _ before: DirentBlock) -> Bool {
    NameRules.order(before.name(before[before.count - 1]), chunk.name(chunk[0])) < 0
  }

  private func chunk(_ record: Record, of folder: ObjectKey) -> DirentBlock? {
    let head = record.head
    let body = read(at: record.bodyStart, count: head.bodyLength)
    guard body.count == head.bodyLength, body.starts(with: folder.bytes) else { return nil }
    return body.withUnsafeBytes { body in
      guard millrace_crc32c(0, body.baseAddress, body.count) == head.checksum else { return nil }
      let blobStart = body.count - Int(head.blobLength)
      return DirentBlock(
        entries: UnsafeRawBufferPointer(rebasing: body[Int(head.keyLength)..<blobStart]),
        count: Int(head.entryCount), blob: UnsafeRawBufferPointer(rebasing: body[blobStart...]))
    }
  }

  /// A record's bytes, for the next file; nil if the disk does not give them.
  func bytes(of record: Record) -> [UInt8]? {
    let bytes = read(at: record.start, count: record.length)
    return bytes.count == record.length ? bytes : nil
  }
}

import CEngineShim
import Glibc
import ObjectStore
import Posix

/// Listings kept on disk from one mount to the next: a file of records, one a block, each with a
/// checksum, in this machine's own byte order.
///
/// Heads are read when the file is opened, the names of a directory when it is first wanted: into memory and not by
/// a mapping, so that a file that is cut off, or a disk that fails, costs a listing and not the process. A
/// checksum shows damage and no ill will, so everything that a record states is checked as well. What is
/// damaged, too old or of another layout is as if it were not there.
final class ListingCacheFile: Sendable {
  /// Before each block: where it belongs and how long it is.
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
    var block: UInt32 = 0
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

  private init(_ file: consuming OwnedDescriptor) { self.file = file }

  /// Nil if there is no such file. `oldest`: nanoseconds since 1970; what was listed before is left out.
  static func open(
    _ place: ListingsFile, oldest: Int64, now: Int64
  ) -> (file: ListingCacheFile, index: Index)? {
    guard let descriptor = try? place.folder.open(place.name, O_RDONLY) else { return nil }
    var status = stat()
    guard fstat(descriptor.raw, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      return nil
    }
    let length = Int(status.st_size)
    let file = ListingCacheFile(descriptor)
    var index = Index()
    var position = 0
    var count = 0
    while count < recordLimit, let (record, key) = file.record(at: position, fileLength: length) {
      position += record.length
      count += 1
      // A clock that was set back says nothing of ages.
      guard record.head.started >= oldest, record.head.started <= now else { continue }
      index.records[key, default: []].append(record)
    }
    return (file, index)
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

  /// Where the listings of a file's directories are in it.
  struct Index {
    fileprivate var records: [ObjectKey: [Record]] = [:]

    var isEmpty: Bool { records.isEmpty }
    var directories: [ObjectKey] { Array(records.keys) }
    func has(_ directory: ObjectKey) -> Bool { records[directory] != nil }

    /// The records of a directory, once: after that whoever called has its listing.
    mutating func remove(_ directory: ObjectKey) -> [Record]? {
      records.removeValue(forKey: directory)
    }

    mutating func remove(below prefix: ObjectKey) {
      records = records.filter { !$0.key.hasPrefix(prefix) }
    }

    /// Records of listings begun at `oldest` or later, nanoseconds since 1970, of directories that are not `others`.
    func records(since oldest: Int64, except others: Set<ObjectKey> = []) -> [Record] {
      records.filter { !others.contains($0.key) }.values.joined().filter {
        $0.head.started >= oldest
      }
    }
  }

  /// Reads the listing of a directory from its records; nil if they are damaged or not all there.
  func listing(of directory: ObjectKey, from parts: [Record]) -> Listing? {
    guard let first = parts.first, parts.last?.head.isLast == 1 else { return nil }
    var blocks: [DirentBlock] = []
    for (index, part) in parts.enumerated() {
      guard part.head.block == UInt32(index), part.head.started == first.head.started,
        part.head.isLast == (index == parts.count - 1 ? 1 : 0),
        let block = block(part, of: directory)
      else { return nil }
      if block.count == 0 { continue }
      if let last = blocks.last, !Self.follows(block, last) { return nil }
      blocks.append(block)
    }
    return Listing(
      entries: DirentTable(blocks, digest: first.head.digest), hidden: Int(first.head.hidden),
      started: first.head.started)
  }

  private static func follows(_ block: DirentBlock, _ before: DirentBlock) -> Bool {
    NameRules.order(before.name(before[before.count - 1]), block.name(block[0])) < 0
  }

  private func block(_ record: Record, of directory: ObjectKey) -> DirentBlock? {
    let head = record.head
    let body = read(at: record.bodyStart, count: head.bodyLength)
    guard body.count == head.bodyLength, body.starts(with: directory.bytes) else { return nil }
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

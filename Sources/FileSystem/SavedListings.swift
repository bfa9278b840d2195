import CEngineShim
import Glibc
import ObjectStore
import Posix

/// Listings kept on disk from one mount to the next: a file of records, one a chunk, each with a
/// checksum, in this machine's own byte order.
///
/// Read by a mapping: a record's head when the file is opened, its names when its folder is first
/// wanted. What is damaged, too old or of another layout is as if it were not there.
final class SavedListings {
  /// Before each chunk: where it belongs and how long it is.
  struct Head {
    static let magic: UInt32 = 0x4d4c_4e31  // "1NLM": a new layout is a new number
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
      Int(keyLength) + Int(entryCount) * MemoryLayout<NameChunk.Entry>.stride + Int(blobLength)
    }
  }

  private struct Record {
    var head: Head
    /// Where the body starts.
    var start: Int
  }

  private let memory: UnsafeRawBufferPointer
  private var records: [ObjectKey: [Record]] = [:]

  var isEmpty: Bool { records.isEmpty }

  /// Nil if there is no such file. `oldest`: nanoseconds since 1970; what was listed before is left out.
  init?(path: String, oldest: Int64, now: Int64) {
    guard let file = try? OwnedDescriptor.open(path, O_RDONLY) else { return nil }
    var status = stat()
    guard fstat(file.raw, &status) == 0, status.st_size > 0,
      let base = mmap(nil, Int(status.st_size), PROT_READ, MAP_PRIVATE, file.raw, 0),
      base != MAP_FAILED
    else { return nil }
    memory = UnsafeRawBufferPointer(start: base, count: Int(status.st_size))
    var position = 0
    while let record = record(at: position) {
      position = record.start + record.head.bodyLength
      // A clock that was set back says nothing of ages.
      guard record.head.started >= oldest, record.head.started <= now else { continue }
      let key = Array(memory[record.start..<record.start + Int(record.head.keyLength)])
      records[ObjectKey(bytes: key), default: []].append(record)
    }
  }

  deinit { munmap(UnsafeMutableRawPointer(mutating: memory.baseAddress), memory.count) }

  private func record(at position: Int) -> Record? {
    let size = MemoryLayout<Head>.size
    guard position + size <= memory.count else { return nil }
    let head = memory.loadUnaligned(fromByteOffset: position, as: Head.self)
    guard head.magic == Head.magic, head.bodyLength <= memory.count - position - size else {
      return nil
    }
    return Record(head: head, start: position + size)
  }

  struct Listing {
    var entries: ListingEntries
    var hidden: Int
    /// Nanoseconds since 1970.
    var started: Int64
  }

  /// What nobody has asked for, as it lies in the file; valid as long as this object.
  func records(since oldest: Int64) -> [UnsafeRawBufferPointer] {
    let size = MemoryLayout<Head>.size
    return records.values.joined().filter { $0.head.started >= oldest }.map { record in
      UnsafeRawBufferPointer(
        rebasing: memory[record.start - size..<record.start + record.head.bodyLength])
    }
  }

  /// Those that nobody has asked for.
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
    var chunks: [NameChunk] = []
    for (index, part) in parts.enumerated() {
      guard part.head.chunk == UInt32(index), part.head.started == first.head.started,
        let chunk = chunk(part)
      else { return nil }
      if chunk.count > 0 { chunks.append(chunk) }
    }
    return Listing(
      entries: ListingEntries(chunks, digest: first.head.digest), hidden: Int(first.head.hidden),
      started: first.head.started)
  }

  private func chunk(_ record: Record) -> NameChunk? {
    let head = record.head
    let body = UnsafeRawBufferPointer(
      rebasing: memory[record.start..<record.start + head.bodyLength])
    guard millrace_crc32c(0, body.baseAddress, body.count) == head.checksum else { return nil }
    let entries = body[Int(head.keyLength)..<body.count - Int(head.blobLength)]
    let blob = body[(body.count - Int(head.blobLength))...]
    return NameChunk(
      entries: UnsafeRawBufferPointer(rebasing: entries), count: Int(head.entryCount),
      blob: UnsafeRawBufferPointer(rebasing: blob))
  }

  // MARK: Writing

  /// Writes a file of listings, of each the moment it was begun in nanoseconds since 1970, and of
  /// records of an older file, in place of the one that is there. Without any there is none. False: it
  /// could not be written, and the old one stays.
  static func write(
    _ listings: [(Generation, Int64)], and records: [UnsafeRawBufferPointer], to path: String
  ) -> Bool {
    if listings.isEmpty && records.isEmpty { return unlink(path) == 0 || errno == ENOENT }
    let temporary = path + ".new"
    guard let file = try? OwnedDescriptor.open(temporary, O_WRONLY | O_CREAT | O_TRUNC),
      let stream = fdopen(dup(file.raw), "w")
    else { return false }
    var isWritten = true
    for (generation, started) in listings where isWritten {
      isWritten = write(generation, started, to: stream)
    }
    isWritten = isWritten && records.allSatisfy { put($0, stream) }
    isWritten = fclose(stream) == 0 && isWritten
    if isWritten && rename(temporary, path) == 0 { return true }
    unlink(temporary)
    return false
  }

  private static func write(
    _ generation: Generation, _ started: Int64, to stream: UnsafeMutablePointer<FILE>
  ) -> Bool {
    var head = Head()
    head.started = started
    head.keyLength = UInt32(generation.folder.bytes.count)
    let (count, digest, hidden) = generation.totals
    head.digest = digest
    head.hidden = UInt32(clamping: hidden)
    var isWritten = true
    var written = 0
    generation.forEachChunk { index, chunk in
      written = index + chunk.count
      head.isLast = written == count ? 1 : 0
      isWritten = isWritten && write(&head, generation.folder, chunk, to: stream)
      head.chunk += 1
    }
    if count == 0 {
      head.isLast = 1
      isWritten = write(&head, generation.folder, nil, to: stream)
    }
    return isWritten
  }

  private static func write(
    _ head: inout Head, _ folder: ObjectKey, _ chunk: NameChunk?,
    to stream: UnsafeMutablePointer<FILE>
  ) -> Bool {
    head.entryCount = UInt32(chunk?.count ?? 0)
    head.blobLength = UInt32(chunk?.blobBytes.count ?? 0)
    head.checksum = 0
    let parts = [chunk?.entryBytes, chunk?.blobBytes].compactMap { $0 }
    return folder.bytes.withUnsafeBytes { key in
      var checksum = millrace_crc32c(0, key.baseAddress, key.count)
      for part in parts { checksum = millrace_crc32c(checksum, part.baseAddress, part.count) }
      head.checksum = checksum
      let isHeadWritten = withUnsafeBytes(of: head) { put($0, stream) }
      return isHeadWritten && put(key, stream) && parts.allSatisfy { put($0, stream) }
    }
  }

  private static func put(
    _ bytes: UnsafeRawBufferPointer, _ stream: UnsafeMutablePointer<FILE>
  ) -> Bool {
    guard let base = bytes.baseAddress, !bytes.isEmpty else { return true }
    return fwrite(base, 1, bytes.count, stream) == bytes.count
  }
}

import CEngineShim
import Glibc
import ObjectStore
import Posix

@testable import CatalogStore
@testable import FileSystem
@testable import ReadEngine

/// What is read from files: a user's manifest, and what an earlier mount, or another user, left in the cache folder.
extension Parsers {
  static let ofFiles: [(name: String, run: @Sendable ([UInt8]) -> Void)] = [
    ("manifest-file", manifestFile), ("snapshot", snapshot), ("saved-listings", savedListings),
    ("cache-records", cacheRecords), ("pins", pins),
  ]

  /// Runs `body` with the path of a folder that has `bytes` as its file `name`; both are gone after it.
  private static func withFile(
    _ bytes: [UInt8], named name: String, _ body: (_ folder: String, _ file: String) -> Void
  ) {
    var template = Array("/tmp/millrace-fuzz-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { fatalError("no folder in /tmp: errno \(errno)") }
    let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer { rmdir(folder) }
    let parts = name.split(separator: "/").map(String.init)
    if parts.count > 1 { mkdir("\(folder)/\(parts[0])", 0o700) }
    defer { if parts.count > 1 { rmdir("\(folder)/\(parts[0])") } }
    let path = folder + "/" + name
    let file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
    defer { unlink(path) }
    let written = write(file, bytes, bytes.count)
    close(file)
    if written == bytes.count { body(folder, path) }
  }

  @Sendable private static func manifestFile(_ bytes: [UInt8]) {
    withFile(bytes, named: "m") { _, path in
      let prefix = ObjectKey("in/")
      guard
        let catalog = try? ManifestReader.read(file: path, prefix: prefix, quotesETags: true)
      else { return }
      for index in 0..<catalog.count { _ = catalog.attributes(index).version }
    }
  }

  /// Where the first line names a checksum, it is made to be that of the rest.
  @Sendable private static func snapshot(_ bytes: [UInt8]) {
    var bytes = bytes
    let label = Array("\"crc32c\":\"".utf8)
    if let end = bytes.firstIndex(of: 10), let mark = bytes[..<end].firstRange(of: label),
      mark.upperBound + 8 <= end
    {
      let sum = String(checksum(of: bytes[(end + 1)...]), radix: 16)
      let digits = String(repeating: "0", count: 8 - sum.count) + sum
      bytes.replaceSubrange(mark.upperBound..<mark.upperBound + 8, with: digits.utf8)
    }
    withFile(bytes, named: "snapshots/s.jsonl") { folder, _ in
      for found in Snapshot.all(in: folder) { _ = found.created }
      guard let (snapshot, catalog) = try? Snapshot.load("s", in: folder) else { return }
      precondition(snapshot.totals.objects == catalog.count)
      for index in 0..<catalog.count { _ = catalog.attributes(index).version }
    }
  }

  /// The checksum of each record is made right: behind it nothing may be trusted either.
  @Sendable private static func savedListings(_ bytes: [UInt8]) {
    let bytes = withChecksums(bytes)
    withFile(bytes, named: "names") { folder, _ in
      guard let place = try? PrivateFolder.open(folder),
        let (file, index) = ListingCacheFile.open(
          ListingsFile(folder: place, name: "names"), oldest: .min, now: .max)
      else { return }
      for record in index.records(since: .min) { precondition(record.length <= bytes.count) }
      var rest = index
      for directory in index.directories {
        guard let records = rest.remove(directory),
          let listing = file.listing(of: directory, from: records)
        else { continue }
        for index in 0..<listing.entries.count {
          let place = listing.entries[index]
          _ = place.seen
          _ = listing.entries.index(of: place.name)
        }
      }
    }
  }

  private static func withChecksums(_ bytes: [UInt8]) -> [UInt8] {
    typealias Head = ListingCacheFile.Head
    var bytes = bytes
    let size = MemoryLayout<Head>.size
    var position = 0
    while position + size <= bytes.count {
      var head = bytes.withUnsafeBytes {
        $0.loadUnaligned(fromByteOffset: position, as: Head.self)
      }
      head.magic = Head.magic
      // A fuzzer does not guess four lengths that fit: what is left is the last one's.
      let room = bytes.count - position - size
      if head.bodyLength > room {
        (head.keyLength, head.entryCount, head.blobLength) = (0, 0, UInt32(room))
      }
      let end = position + size + head.bodyLength
      head.checksum = checksum(of: bytes[(position + size)..<end])
      withUnsafeBytes(of: head) { bytes.replaceSubrange(position..<position + size, with: $0) }
      position = end
    }
    return bytes
  }

  private static func checksum(of bytes: ArraySlice<UInt8>) -> UInt32 {
    bytes.withUnsafeBytes { millrace_crc32c(0, $0.baseAddress, $0.count) }
  }

  /// Records, heads and states of the cache folder; what is taken is written as it was read.
  @Sendable private static func cacheRecords(_ bytes: [UInt8]) {
    bytes.withUnsafeBytes { raw in
      if let record = SmallRecord(raw) {
        precondition(
          SmallRecord(stamp: record.stamp, size: record.size, checksums: record.checksums).encoded
            == bytes)
      }
      let version = ObjectVersion(key: ObjectKey("k"), etag: "e", size: 1 << 20, modified: 0)
      let head = SidecarHeader(version: version)
      if head.matches(raw) { precondition(bytes.starts(with: head.encoded)) }
    }
    if let state = FolderState(bytes: bytes) {
      precondition(FolderState(text: state.text) == state)
    }
  }

  @Sendable private static func pins(_ bytes: [UInt8]) {
    withFile(bytes, named: "pins") { folder, _ in
      guard let folder = try? PrivateFolder.open(folder) else { return }
      let pins = PinList.read(folder)
      precondition(pins.count <= bytes.count / 32 + 1)
    }
  }
}

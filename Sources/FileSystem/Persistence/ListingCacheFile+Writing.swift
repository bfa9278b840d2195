import CEngineShim
import Glibc
import ObjectStore
import Posix

extension ListingCacheFile {
  /// Records of an older file that go into the next one as they are.
  struct Kept {
    var file: ListingCacheFile
    var records: [Record]
  }

  /// Writes a file of listings, of each the moment it was begun in nanoseconds since 1970, and of
  /// records of an older file, in place of the one that is there. Without any there is none. False: it
  /// could not be written, and the old one stays.
  static func write(
    _ listings: [(DirectoryListing, Int64)], and kept: Kept?, to place: ListingsFile
  )
    -> Bool
  {
    if listings.isEmpty && kept?.records.isEmpty ?? true {
      return place.folder.remove(place.name) || errno == ENOENT
    }
    let temporary = place.name + ".new"
    guard let file = try? place.folder.create(temporary, O_WRONLY),
      let stream = fdopen(dup(file.raw), "w")
    else { return false }
    var isWritten = true
    for (listing, started) in listings where isWritten {
      isWritten = write(listing, started, to: stream)
    }
    for record in kept?.records ?? [] where isWritten {
      // What can no longer be read is left out.
      guard let bytes = kept?.file.bytes(of: record) else { continue }
      isWritten = bytes.withUnsafeBytes { put($0, stream) }
    }
    isWritten = fclose(stream) == 0 && isWritten
    if isWritten, (try? place.folder.rename(temporary, to: place.name)) != nil { return true }
    place.folder.remove(temporary)
    return false
  }

  private static func write(
    _ listing: DirectoryListing, _ started: Int64, to stream: UnsafeMutablePointer<FILE>
  ) -> Bool {
    // Longer than any path: it is listed anew.
    guard listing.directory.bytes.count <= keyLimit else { return true }
    var head = Head()
    head.started = started
    head.keyLength = UInt32(listing.directory.bytes.count)
    let (count, digest, hidden) = listing.totals
    head.digest = digest
    head.hidden = UInt32(clamping: hidden)
    var isWritten = true
    var written = 0
    listing.forEachBlock { index, block in
      written = index + block.count
      head.isLast = written == count ? 1 : 0
      isWritten = isWritten && write(&head, listing.directory, block, to: stream)
      head.block += 1
    }
    if count == 0 {
      head.isLast = 1
      isWritten = write(&head, listing.directory, nil, to: stream)
    }
    return isWritten
  }

  private static func write(
    _ head: inout Head, _ directory: ObjectKey, _ block: DirentBlock?,
    to stream: UnsafeMutablePointer<FILE>
  ) -> Bool {
    head.entryCount = UInt32(block?.count ?? 0)
    head.blobLength = UInt32(block?.blobBytes.count ?? 0)
    head.checksum = 0
    let parts = [block?.entryBytes, block?.blobBytes].compactMap { $0 }
    return directory.bytes.withUnsafeBytes { key in
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

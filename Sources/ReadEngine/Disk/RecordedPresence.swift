import Glibc

/// The presence of pieces as the records of a cache file tell it.
struct RecordedPresence: PresenceRecords {
  let file: CacheFile
  let pieceCount: Int
  /// Records of these generations of the cache folder need no check.
  let trusted: ClosedRange<UInt32>

  /// SEEK_DATA of Linux, a macro that Swift does not see.
  private static let seekData: CInt = 3

  func segment(_ index: Int) -> PresenceMap.Segment {
    var segment = PresenceMap.Segment()
    let first = index * PresenceMap.piecesPerSegment
    let count = min(PresenceMap.piecesPerSegment, pieceCount - first)
    func note(_ place: Int, stamp: UInt32) {
      if stamp != 0 { segment.set(place, isPresent: true, isTrusted: trusted.contains(stamp)) }
    }
    switch file.form {
    case .small(let record):
      for place in 0..<count { note(place, stamp: record.stamp) }
    case .large(let sidecar, let offset):
      let length = count * PieceRecord.size
      withUnsafeTemporaryAllocation(byteCount: length, alignment: 8) { buffer in
        let start = off_t(offset + first * PieceRecord.size)
        let got = pread(sidecar.raw, buffer.baseAddress, length, start)
        for place in 0..<(max(got, 0) / PieceRecord.size) {
          let word = buffer.loadUnaligned(
            fromByteOffset: place * PieceRecord.size + 4, as: UInt32.self)
          note(place, stamp: UInt32(littleEndian: word))
        }
      }
    }
    return segment
  }

  /// A sidecar is sparse: where it has no blocks there are no records.
  func nextSegment(from index: Int) -> Int? {
    guard case .large(let sidecar, let offset) = file.form else { return index == 0 ? 0 : nil }
    let size = PresenceMap.piecesPerSegment * PieceRecord.size
    let found = lseek(sidecar.raw, off_t(offset + index * size), Self.seekData)
    if found < 0 { return errno == ENXIO ? nil : index }
    return max(index, (Int(found) - offset) / size)
  }
}

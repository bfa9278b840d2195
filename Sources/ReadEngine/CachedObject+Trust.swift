/// Whether what lies on disk may be handed out, and what is done when it may not.
import Logging
import Metrics
import ObjectStore
import Posix
import Synchronization

extension CachedObject {
  /// Reads pieces whole and compares them with their records; what is wrong is dropped at once.
  func verify(_ pieces: [Int], isStopped: () -> Bool = { false }) {
    guard let file = state.withLock({ $0.file }) else { return }
    var wrong = 0
    for piece in pieces where !isStopped() {
      let isRight = services.scratch.withBuffer(of: Geometry.pieceSize) { buffer in
        matchesRecord(piece, of: file, buffer)
      }
      if isRight {
        state.withLock { state in
          if state.presence.isPresent(piece) { state.presence.markTrusted(piece) }
          noteWhole(in: &state)
        }
      } else {
        wrong += 1
        dropFromDisk([piece], refusing: false)
        // A small file is right or wrong as a whole.
        if version.size <= Geometry.smallObjectLimit { break }
      }
    }
    if wrong == 0 { return }
    services.metrics.cache.corruptPieces.add(wrong)
    services.log.warning("\(wrong) damaged pieces of \(version.key) on disk; fetching again")
  }

  private func matchesRecord(
    _ piece: Int, of file: CacheFile, _ buffer: UnsafeMutableRawBufferPointer
  ) -> Bool {
    let start = Geometry.start(ofPiece: piece)
    let length = Geometry.length(ofPiece: piece, size: version.size)
    let target = UnsafeMutableRawBufferPointer(rebasing: buffer[..<length])
    return services.files.read(file.descriptor, start..<start + UInt64(length), into: target)
      && file.record(ofPiece: piece)?.crc == PieceRecord.crc(of: UnsafeRawBufferPointer(target))
  }

  /// `refusing`: the disk keeps failing, do without it while this version is open.
  func dropFromDisk(_ pieces: [Int], refusing: Bool) {
    let file: CacheFile? = state.withLock { state in
      // Under the lock, or one who verifies another piece could store it again.
      wholeDescriptor.store(-1, ordering: .releasing)
      let file = state.file
      if refusing || state.isSmall {
        // A small file is right or wrong as a whole.
        if let file { state.retiredFiles.append(file) }
        state.file = nil
        state.takesWrites = !refusing
        state.presence = PresenceMap(pieceCount: state.pieceCount, isEmpty: true)
      } else {
        state.dropFromDisk(pieces)
      }
      return file
    }
    guard let file, let disk = services.disk else { return }
    if refusing || version.size <= Geometry.smallObjectLimit {
      CacheFile.remove(id, in: disk.folder)
      disk.account(id, bytes: 0)
    } else {
      for piece in pieces { file.dropRecord(ofPiece: piece) }
    }
  }
}

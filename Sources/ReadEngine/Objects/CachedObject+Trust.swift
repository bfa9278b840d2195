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
        dropFromDisk([piece], of: file, refusing: false)
        // A small file is right or wrong as a whole.
        if version.size <= Geometry.smallObjectLimit { break }
      }
    }
    if wrong == 0 { return }
    services.metrics.cache.corruptBlocks.add(wrong)
    services.log.warning("\(wrong) corrupt blocks of \(version.key) on disk; fetching them again")
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

  /// How long a disk that keeps failing is not tried again with an object.
  private static let failingDisk = Duration.seconds(60)

  /// Drops pieces of `file`, unless another one took its place meanwhile.
  ///
  /// Under the lock to the end: what is fetched anew may get the same name on disk at once.
  /// `refusing`: the disk keeps failing, do without it for a while.
  func dropFromDisk(_ pieces: [Int], of file: CacheFile, refusing: Bool) {
    state.withLock { state in
      guard state.file === file else { return }
      wholeDescriptor.store(-1, ordering: .releasing)
      guard refusing || state.isSmall else {
        state.dropFromDisk(pieces)
        for piece in pieces { file.dropRecord(ofPiece: piece) }
        return
      }
      // A small file is right or wrong as a whole.
      state.retiredFiles.append(file)
      state.file = nil
      if state.writes != .never {
        state.writes = refusing ? .refused(until: .now + Self.failingDisk) : .taken
      }
      state.presence = PresenceMap(pieceCount: state.pieceCount)
      state.streams.forgetPlans()
      guard let disk = services.disk else { return }
      CacheFile.remove(id, in: disk.folder)
      disk.account(id, bytes: 0)
    }
  }
}

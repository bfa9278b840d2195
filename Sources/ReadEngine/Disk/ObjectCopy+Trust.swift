/// Whether the copy of an object on disk may be handed out, and what is done when it may not.
import Logging
import Metrics
import ObjectStore
import Posix
import Synchronization

extension ObjectCopy {
  /// How long a disk that keeps failing is not tried again with an object.
  private static let failingDisk = Duration.seconds(60)

  /// Reads pieces whole and compares them with their records; what is wrong is dropped at once.
  func verify(_ pieces: [Int], isStopped: () -> Bool = { false }) {
    let (current, copy) = object.withState { ($0.file, $0.machine.blocks.disk.copy) }
    guard let file = current, let copy else { return }
    var wrong = 0
    for piece in pieces where !isStopped() {
      let isRight = services.diskReads.scratch.withBuffer(of: Geometry.pieceSize) { buffer in
        matchesRecord(piece, of: file, buffer)
      }
      if isRight {
        object.withState { state in
          state.machine.blocks.verified(piece, of: copy)
          object.publishIfWhole(&state)
        }
      } else {
        wrong += 1
        drop([piece], of: file, refusing: false)
        // A small file is right or wrong as a whole.
        if version.size <= Geometry.smallObjectLimit { break }
      }
    }
    if wrong == 0 { return }
    services.metrics.cache.corruptBlocks.add(wrong)
    services.notices.log.warning(
      "\(wrong) corrupt blocks of \(version.key) on disk; fetching them again")
  }

  private func matchesRecord(
    _ piece: Int, of file: CacheFile, _ buffer: UnsafeMutableRawBufferPointer
  ) -> Bool {
    let start = Geometry.start(ofPiece: piece)
    let length = Geometry.length(ofPiece: piece, size: version.size)
    let target = UnsafeMutableRawBufferPointer(rebasing: buffer[..<length])
    return services.diskReads.files.read(
      file.descriptor, start..<start + UInt64(length), into: target)
      && file.record(ofPiece: piece)?.crc == PieceRecord.crc(of: UnsafeRawBufferPointer(target))
  }

  /// Drops pieces of `file`, unless another one took its place meanwhile. `refusing`: the disk keeps failing, do
  /// without it for a while.
  func drop(_ pieces: [Int], of file: CacheFile, refusing: Bool) {
    let isRemoved = object.connection.withLock { _ in
      guard object.withState({ $0.file === file }) else { return false }
      if !refusing, version.size > Geometry.smallObjectLimit {
        // Before the machine has them fetched again: a record that is written anew is not touched.
        for piece in pieces { file.dropRecord(ofPiece: piece) }
      }
      let until = refusing ? Instant.now + Self.failingDisk : nil
      let isRemoved = object.withState { state in
        guard state.file === file, let copy = state.machine.blocks.disk.copy else { return false }
        object.wholeDescriptor.store(-1, ordering: .releasing)
        let actions = state.machine.drop(pieces, of: copy, refusedUntil: until)
        if !actions.isEmpty { object.retireFile(&state) }
        return !actions.isEmpty
      }
      if isRemoved { remove() }
      return isRemoved
    }
    // Who closed it meanwhile left it as it was, at work.
    if isRemoved { services.retireIfIdle(object) }
  }

  /// Removes the files of what was the copy. What is fetched anew gets the same name on disk, and is not written
  /// before they are gone. With `connection` held.
  func remove() {
    removeFiles()
    object.handle { $0.copyRemoved() }
  }

  func removeFiles() {
    guard let disk = services.disk else { return }
    CacheFile.remove(id, in: disk.folder)
    disk.account(id, bytes: 0)
  }
}

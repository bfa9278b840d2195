/// Pieces that memory alone holds: all of them without a disk tier, else those for which the disk had
/// no room. They go, by second chance, when blocks are needed for what is fetched next.
import DequeModule
import Posix

final class MemoryTier: Sendable {
  private struct Held {
    let object: CachedObject
    let piece: Int
  }

  private let held = Lock(Deque<Held>())

  /// Pieces held, some of them perhaps gone by now.
  var count: Int { held.withLock { $0.count } }

  func hold(_ piece: Int, of object: CachedObject) {
    held.withLock { $0.append(Held(object: object, piece: piece)) }
  }

  /// Frees up to `count` blocks. Those that were read since they were last looked at stay for
  /// another round.
  func evict(_ count: Int) {
    var freed = 0
    // Twice round at most: by then every second chance was used up.
    var looks = held.withLock { $0.count } * 2
    while freed < count, looks > 0, let candidate = held.withLock({ $0.popFirst() }) {
      looks -= 1
      switch candidate.object.evictFromMemory(candidate.piece) {
      case .evicted: freed += 1
      case .used: held.withLock { $0.append(candidate) }
      case .gone: break
      }
    }
  }

  func removeAll() { held.withLock { $0.removeAll() } }
}

enum MemoryEviction {
  case evicted
  /// Read since it was last looked at.
  case used
  /// Not in memory any more.
  case gone
}

import Posix
import SystemPackage

/// What an object's state machine wants done, once its lock is released and in this order.
enum ObjectAction {
  /// Answer from these places. Its blocks are retained for the answer before the lock is released.
  case reply(Waiter, [ReplySegment])
  /// Compare pieces on disk with their records, then advance the read.
  case verify(Waiter, [Int])
  case fail(Waiter, Errno)
  /// Its time is over.
  case timeOut(Waiter)
  /// Ask for memory for the read, then advance it.
  case askForMemory(Waiter, blocks: Int)
  /// The read waits in line for memory. It may have been admitted before it was parked, and may be over by now:
  /// ask whether it is admitted.
  case waitsForMemory(ReadAdmission.Ticket)
  /// Queue these fetches; let those that a reader has come to wait for go first.
  case request([FetchPlan], promoting: [FetchID])
  /// Read records on a disk worker, then hand them in.
  case loadSegments([Int], of: CopyID)
  case release([BlockPool.Block])
  /// The memory tier may evict these pieces.
  case hold([Int])
  /// Blocks came free, or pieces may be evicted: what waits for memory is tried again. `always`: whether something is
  /// known to wait or not.
  case memoryMayBeFree(always: Bool)
  /// Queue the object for the disk writer.
  case write
  /// Remove the copy on disk, then say so.
  case removeCopy
  /// The failure of a fetch concerns a user.
  case report
  /// The store has another version, which was not known before.
  case becameStale
}

/// A part of an answer.
enum ReplySegment: Equatable {
  case memory(BlockPool.Block, offset: Int, count: Int)
  /// `offset` in the cache file.
  case disk(offset: UInt64, count: Int)
}

/// What decides on a read beside the object itself.
struct ReadTerms {
  var now: Instant
  var network: LinkTerms
  /// The engine ends: nothing is asked of the store any more.
  var isStopped: Bool
}

/// Why a fetch failed, for those who wait for it.
struct FetchFailure {
  var errno: Errno
  /// The reply showed another content; not only that the object is missing.
  var isChange = false
  /// It was given up by this side.
  var isCancelled = false
  /// The copy on disk has the name of both contents: it must not be met again.
  var forgetsCopy = false
}

import ObjectStore
import SystemPackage

/// What a fetch is for: the object that its bytes belong to, as far as the fetch and its dispatcher know it.
protocol FetchOwner: AnyObject, Sendable {
  var version: ObjectVersion { get }
  var id: FileID { get }
  var learntETag: LearntETag { get }
  /// A reader has it open: what it has not read yet is needed now.
  var hasReaders: Bool { get }
  /// What to request of a fetch now; `nil` if it is no longer wanted.
  func need(of fetch: FetchID, limit: Int) -> FetchNeed?
  /// It is sent, for these pieces. Returns the range to ask for.
  func fetchBegan(_ fetch: FetchID, _ pieces: Range<Int>) -> Range<UInt64>?
  func isAwaited(_ fetch: FetchID) -> Bool
  func bytesArrived(
    _ fetch: FetchID, upTo position: UInt64, in blocks: [BlockPool.Block], _ times: FetchTimes)
  /// It is over, or was never sent. Called once.
  func fetchEnded(_ fetch: FetchID, _ result: Result<Void, StoreError>, _ times: FetchTimes)
}

/// What is to be requested of a fetch when its turn has come.
struct FetchNeed: Equatable {
  var pieces: Range<Int>
  /// What admitted reads wait for.
  var needed: Range<Int>?
}

extension StoreError {
  /// What a reader gets to see of a failed fetch.
  var readErrno: Errno {
    switch kind {
    case .changed, .notFound: .staleNFSFileHandle
    case .accessDenied, .badCredentials: .permissionDenied
    default: .ioError
    }
  }
}

/// A request for a job: what is to be done with files of a mount.
public struct JobRequest: Sendable {
  public enum Action: String, Sendable, Codable, CaseIterable {
    /// Fetch into the cache what is not there.
    case warm
    /// Keep out of eviction, here and at the next mount.
    case pin
    case unpin
    /// Drop from the cache.
    case evict
    /// Count where the bytes are.
    case du
  }

  public var action: Action
  /// Relative to the mount; files, or folders with all below them; an empty one is the whole mount.
  public var paths: [[UInt8]]
  /// `warm`: files under way at once.
  public var width = Self.usualWidth
  /// `warm`: read what is on disk and compare it with its checksums.
  public var verifies = false
  /// `warm`: the files are an order as well, and what does not fit comes when that is read.
  public var isOrder = false

  public static let usualWidth = 64
  public static let mostWidth = 256

  /// What `paths` occupies in memory: each one's bytes, and an array.
  var pathBytes: Int { paths.reduce(0) { $0 + $1.count + 48 } }

  public init(_ action: Action, paths: [[UInt8]]) {
    self.action = action
    self.paths = paths
  }
}

/// Why a job was not begun.
public struct JobRefusal: Error, Sendable, CustomStringConvertible {
  public enum Kind: Sendable {
    /// It makes no sense, whenever it is asked for.
    case invalid
    /// It is more than a request may have.
    case tooLarge
    /// Others are running, or in force: later, or once one has ended.
    case busy
    /// The mount is being unmounted.
    case stopping
  }

  public var kind: Kind
  public var description: String

  init(_ kind: Kind, _ description: String) {
    self.kind = kind
    self.description = description
  }
}

/// How far a job is, and what came of it. Sizes in bytes.
public struct JobReport: Sendable, Codable {
  public enum State: String, Sendable, Codable {
    case running
    case done
    /// It went to its end, and some files failed.
    case failed
    case cancelled
  }

  public struct Failure: Sendable, Codable {
    /// As text; bytes that are none are replaced.
    public var path: String
    public var reason: String
  }

  public var id: String
  public var action: JobRequest.Action
  public var state = State.running
  public var seconds = 0.0
  /// Files found so far, and all there are once `isTotalFinal`.
  public var files = 0
  public var bytes: UInt64 = 0
  public var isTotalFinal = false
  /// Of them, those that are dealt with.
  public var filesDone = 0
  public var bytesDone: UInt64 = 0
  /// `warm`: what came from the store.
  public var filesFetched = 0
  public var bytesFetched: UInt64 = 0
  /// `warm` with verifying: what was not as it was written, and was fetched again.
  public var bytesDropped: UInt64 = 0
  /// `warm` of an order: files that wait for it to be read, for want of room.
  public var filesLeft = 0
  /// `pin`, `unpin`, `evict`: files for which it made a difference.
  public var filesChanged = 0
  public var bytesFreed: UInt64 = 0
  /// `du`
  public var bytesInMemory: UInt64 = 0
  public var bytesOnDisk: UInt64 = 0
  public var filesOnDisk = 0
  public var filesPinned = 0
  public var bytesPinned: UInt64 = 0
  public var failures = 0
  /// The first of them.
  public var failureList: [Failure] = []

  /// Failures that are reported one by one.
  static let mostFailures = 1000

  init(id: String, action: JobRequest.Action) {
    self.id = id
    self.action = action
  }
}

import Logging
import Metrics
import Posix
import SystemPackage

/// What the kernel asked for, in messages.
enum Operation: String, Sendable {
  case lookup, getattr, opendir, readdir, open, read, access, getxattr, listxattr
}

/// Failures are counted each and logged once a kind: a store that is away fails every request.
final class RequestErrorLog: Sendable {
  private struct Kind: Hashable {
    var operation: Operation
    var code: CInt
  }

  /// Answers that are part of a healthy file system's day.
  private static let ordinary: Set<CInt> = [
    Errno.noSuchFileOrDirectory, .noData, .notSupported, .readOnlyFileSystem, .notDirectory,
    .isDirectory,
    .outOfRange, .fileNameTooLong, .invalidArgument,
  ].reduce(into: []) { $0.insert($1.rawValue) }

  private let seen = Lock(Set<Kind>())
  private let metrics: FrontMetrics
  private let log: Logger

  init(metrics: FrontMetrics, log: Logger) {
    self.metrics = metrics
    self.log = log
  }

  func record(_ error: Errno, during operation: Operation) {
    if RequestErrorLog.ordinary.contains(error.rawValue) { return }
    metrics.errors.add()
    let isFirst = seen.withLock {
      $0.insert(Kind(operation: operation, code: error.rawValue)).inserted
    }
    guard isFirst else { return }
    log.warning(
      "\(operation.rawValue) failed: \(error.description); further failures of this kind are only counted"
    )
  }
}

extension Errno {
  /// What a reply carries: an errno that the kernel takes as one; anything else is EIO.
  var replyCode: CInt { (1..<1000).contains(rawValue) ? rawValue : Errno.ioError.rawValue }
}

import FuseFrontEnd
import ObjectStore
import ReadEngine

/// What the program exits with: scripts tell from it whether another try can help. docs/command-line.md lists them.
enum ExitStatus: Int32 {
  case other = 1
  case usage = 2
  case sourceNotFound = 3
  case accessDenied = 4
  /// The store cannot be reached, or throttles: the same call may succeed later.
  case storeUnavailable = 5
  /// FUSE is not available, or it is the mount point.
  case mountPoint = 6
  /// `run`: it failed before there was a command whose code it could exit with; as docker run.
  case runItself = 125
}

/// What is said to the user, in one line, and the exit code.
struct Failure: Error, Equatable, CustomStringConvertible {
  var description: String
  var code: Int32

  init(_ description: String, code: Int32 = ExitStatus.other.rawValue) {
    self.description = SecretMask.masked(oneLine(description))
    self.code = code
  }

  init(_ description: String, _ status: ExitStatus) {
    self.init(description, code: status.rawValue)
  }

  static func usage(_ description: String) -> Failure { Failure(description, .usage) }

  /// What any module throws becomes a failure with its own words.
  init(_ error: any Error) {
    switch error {
    case let failure as Failure: self = failure
    case let error as StoreError: self = Failure(error.description, error.kind.exitStatus)
    case let error as MountError: self = Failure(error.description, .mountPoint)
    default: self = Failure(String(describing: error))
    }
  }
}

extension StoreError.Kind {
  var exitStatus: ExitStatus {
    switch self {
    case .notFound, .noSuchStore: .sourceNotFound
    case .accessDenied, .badCredentials: .accessDenied
    case .unreachable, .timedOut, .throttled, .serverFailure: .storeUnavailable
    case .invalidSource: .usage
    // A certificate does not become valid by another try.
    case .tls, .changed, .archived, .badReply, .unsupported, .cancelled: .other
    }
  }
}

/// Line breaks become "; ": a failure is one line whatever a store or a library says.
func oneLine(_ text: String) -> String {
  text.split(whereSeparator: { $0.isNewline }).joined(separator: "; ")
}

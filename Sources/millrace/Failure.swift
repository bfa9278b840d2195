import FuseFrontEnd
import ObjectStore
import ReadEngine

/// What the user is told, in one line, and the exit code: 1 it could not be done, 2 the command
/// line is wrong.
struct Failure: Error, Equatable, CustomStringConvertible {
  var description: String
  var code: Int32

  init(_ description: String, code: Int32 = 1) {
    self.description = SecretMask.masked(oneLine(description))
    self.code = code
  }

  static func usage(_ description: String) -> Failure { Failure(description, code: 2) }

  /// What any room throws becomes a failure with its own words.
  init(_ error: any Error) {
    switch error {
    case let failure as Failure: self = failure
    case let error as StoreError where error.kind == .invalidSource:
      self = .usage(error.description)
    default: self = Failure(String(describing: error))
    }
  }
}

/// Line breaks become "; ": a failure is one line whatever a store or a library says.
func oneLine(_ text: String) -> String {
  text.split(whereSeparator: { $0.isNewline }).joined(separator: "; ")
}

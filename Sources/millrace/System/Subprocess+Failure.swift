import Posix
import SystemPackage

extension Subprocess {
  /// Throws with code 127 when the program is not found, with 126 when it cannot be started: as a shell.
  static func start(
    _ arguments: [String], _ options: Options = Options()
  ) throws(Failure) -> Subprocess {
    var options = options
    options.environment = options.environment ?? processEnvironment()
    do throws(Errno) { return try Subprocess(arguments, options) } catch {
      throw Failure(
        "cannot run \(options.path ?? arguments[0]): \(error)",
        code: error == .noSuchFileOrDirectory ? 127 : 126)
    }
  }
}

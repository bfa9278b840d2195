import Glibc
import Posix

/// The checkout's Python environment (.build/venv) with the servers that PyPI has.
///
/// It sees the system's packages, so that Debian's python3-torch is there for the demo. `make setup`
/// makes it; so does the first test that asks for it.
public struct VirtualEnvironment: Sendable {
  public let python: String
  private let folder: String

  /// Made on first use, once a process; a file lock keeps two processes from making it at once.
  public static func shared() throws -> VirtualEnvironment { try made.withLock { try $0.get() } }

  /// A program that pip installed: weed, rclone, moto_server.
  public func program(_ name: String) -> String { "\(folder)/bin/\(name)" }

  private static let made = Lock(Result<VirtualEnvironment, any Error> { try make() })

  private static func make() throws -> VirtualEnvironment {
    let result = try CommandResult.run(
      ["sh", Checkout.tools + "/make-venv.sh", Checkout.buildFolder + "/venv"],
      within: .seconds(600))
    guard result.succeeded else {
      throw SupportError(
        "cannot make the Python environment .build/venv: \(result.output)\(result.errors)")
    }
    let folder = Checkout.buildFolder + "/venv"
    return VirtualEnvironment(python: folder + "/bin/python3", folder: folder)
  }
}

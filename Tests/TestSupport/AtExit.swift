import Glibc
import Posix

/// What still lives when the process ends in good order: a server in a static variable is never
/// deinitialized. Its program is ended and its folder removed all the same.
enum AtExit {
  private struct Left {
    var children: Set<pid_t> = []
    var folders: Set<String> = []
  }

  private static let left: Lock<Left> = {
    atexit(cleanUp)
    return Lock(Left())
  }()

  static func note(child: pid_t) { left.withLock { _ = $0.children.insert(child) } }
  static func forget(child: pid_t) { left.withLock { _ = $0.children.remove(child) } }
  static func note(folder: String) { left.withLock { _ = $0.folders.insert(folder) } }
  static func forget(folder: String) { left.withLock { _ = $0.folders.remove(folder) } }

  /// SIGTERM first: a mount must get the chance to go.
  fileprivate static func endAll() {
    let remaining = left.withLock { left in
      defer { left = Left() }
      return left
    }
    for pid in remaining.children { kill(pid, SIGTERM) }
    for pid in remaining.children {
      let ended = waitFor(within: .seconds(5)) { waitpid(pid, nil, WNOHANG) != 0 ? true : nil }
      if ended == nil {
        kill(pid, SIGKILL)
        waitpid(pid, nil, 0)
      }
    }
    for folder in remaining.folders { removeTree(folder) }
  }
}

private func cleanUp() { AtExit.endAll() }

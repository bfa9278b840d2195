import FileSystem
import ObjectStore
import Posix
import SystemPackage

/// Which versions paths have, many at once.
struct VersionLookup {
  let fileSystem: FileSystem

  /// Paths looked up at once at most; a batch is as many.
  static let step = 256

  /// One answer a path, in their order. Blocks for as long as the file system waits for a listing;
  /// `.canceled` for what had no answer when it was stopped.
  func versions(of paths: [[UInt8]], isStopped: () -> Bool) -> [Result<ObjectVersion, Errno>] {
    typealias Answer = Result<ObjectVersion, Errno>
    let answers = Monitor((left: paths.count, found: [Answer?](repeating: nil, count: paths.count)))
    for (index, path) in paths.enumerated() {
      fileSystem.version(atPath: path) { result in
        answers.signal(all: true) { answers in
          answers.left -= 1
          answers.found[index] = result
        }
      }
    }
    // Each of them ends by itself, within --io-timeout.
    while true {
      let found: [Answer?]? = answers.wait(until: .now + .milliseconds(200)) {
        $0.left == 0 ? $0.found : nil
      }
      if let found { return found.map { $0 ?? .failure(.canceled) } }
      if isStopped() { return answers.withLock { $0.found.map { $0 ?? .failure(.canceled) } } }
    }
  }
}

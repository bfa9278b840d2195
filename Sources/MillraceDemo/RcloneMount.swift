import Glibc
import Posix
import TestSupport

/// The same bucket mounted by rclone, with its cache on disk, beside which the demo shows this mount.
final class RcloneMount {
  let path: String
  private let child: ChildProcess

  init(_ source: String, of endpoint: S3Endpoint, at path: String, cache: String, log: String)
    throws
  {
    self.path = path
    child = try ChildProcess(
      [
        VirtualEnvironment.shared().program("rclone"), "mount", ":s3:" + source, path,
        "--read-only", "--vfs-cache-mode", "full", "--cache-dir", cache, "--config", "/dev/null",
        "--s3-provider", "Other", "--s3-force-path-style", "--s3-endpoint", endpoint.url,
        "--s3-env-auth",
      ], environment: endpoint.environment,
      streams: ChildProcess.Streams(output: log, errors: log), deathSignal: .terminate)
    let child = child
    let isUsable = waitFor(within: .seconds(30)) { () -> Bool? in
      if child.poll() != nil { return false }
      return Mounts.isMounted(path) ? true : nil
    }
    guard isUsable == true else {
      end()
      throw SupportError("rclone did not mount: \((try? readText(log)) ?? "")")
    }
  }

  func end() {
    Mounts.detach(path)
    child.end(SIGTERM, within: .seconds(10))
  }
}

import Glibc
import TestSupport

/// A volume of JuiceFS over the same store, filled through its own mount.
struct JuiceVolume {
  let program: String
  let metadata: String

  /// Formats it and copies `tree` in.
  init(filling tree: String, through server: LinkProcess, scratch: TemporaryFolder) throws {
    program = try VirtualEnvironment.shared().program("juicefs")
    metadata = "sqlite3://\(scratch.path("juicefs.db"))"
    try CommandResult.check(
      [
        program, "format", "--storage", "s3", "--bucket", "\(server.url)/juicefs", "--access-key",
        "a", "--secret-key", "b", "--trash-days", "0", metadata, "bench",
      ], within: .seconds(60))
    let place = try scratch.folder("juicefs-fill")
    let mount = try ForeignMount(
      [
        program, "mount", metadata, place, "--cache-dir", scratch.folder("juicefs-fill-cache"),
        "--no-usage-report",
      ], environment: [:], at: place, log: scratch.path("juicefs-fill.log"))
    defer { try? mount.unmount() }
    try CommandResult.check(["cp", "-r", tree + "/.", place], within: .seconds(600))
  }

  /// The same volume behind another link.
  func move(to server: LinkProcess) throws {
    try CommandResult.check(
      [
        program, "config", metadata, "--bucket", "\(server.url)/juicefs", "--access-key", "a",
        "--secret-key", "b", "--yes",
      ], within: .seconds(60))
  }
}

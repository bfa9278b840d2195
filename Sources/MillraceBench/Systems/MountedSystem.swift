import Glibc
import TestSupport

/// A system at work: its folder, the process behind it, how to read it and how to end it.
struct MountedSystem {
  let path: String
  /// Nil: there is none, the kernel alone serves it.
  let pid: pid_t?
  /// The prefix of a command that makes it run as a user who may read the mount.
  let runAs: [String]
  let unmount: () throws -> Void

  static func plain(_ folder: String) -> MountedSystem {
    MountedSystem(path: folder, pid: nil, runAs: [], unmount: {})
  }
}

/// A program that serves a mount in the foreground.
final class ForeignMount {
  let child: ChildProcess
  private let path: String

  init(_ command: [String], environment: [String: String], at path: String, log: String) throws {
    self.path = path
    child = try ChildProcess(
      command, environment: environment,
      streams: ChildProcess.Streams(output: log, errors: log), deathSignal: .terminate)
    let child = child
    let usable = waitFor(within: .seconds(60)) { () -> Bool? in
      if child.poll() != nil { return false }
      return Mounts.isMounted(path) ? true : nil
    }
    guard usable == true else {
      child.end()
      throw SupportError("\(command[0]) did not mount: \((try? readText(log)) ?? "")")
    }
  }

  func unmount(within patience: Duration = .seconds(60)) throws {
    _ = try CommandResult.run(["fusermount3", "-u", path], within: patience)
    if child.wait(within: patience) == nil { child.end() }
    Mounts.detach(path)
  }
}

/// Mounts any system over any link.
struct Mounter {
  let tree: String
  let juice: JuiceVolume?
  let logs: String
  /// What every daemon is put behind.
  var prefix: [String] = []
  /// How long a mount may take to go.
  var unmountPatience = Duration.seconds(60)
  /// The uid and gid of the ordinary user.
  static let nobody = 65_534

  /// The program behind a system; nil: there is none.
  func program(_ kind: SystemKind) throws -> String? {
    switch kind {
    case .plain: nil
    case .millrace, .plainPath, .ordinary: try Checkout.millrace()
    case .s3fs: "s3fs"
    case .rclone: try VirtualEnvironment.shared().program("rclone")
    case .juicefs: juice?.program
    }
  }

  func mount(
    _ kind: SystemKind, server: LinkProcess, bucket: String = "data", at place: String,
    cache: String, options: [String] = []
  ) throws -> MountedSystem {
    switch kind {
    case .plain: return .plain(tree)
    case .millrace, .plainPath, .ordinary:
      return try millrace(kind, server, bucket, place, cache, options)
    case .s3fs:
      return try foreign(
        [
          "s3fs", bucket, place, "-f", "-o", "url=\(server.url)", "-o", "use_path_request_style",
          "-o", "public_bucket=1", "-o", "use_cache=\(cache)", "-o", "ro",
        ], [:], place)
    case .rclone:
      return try foreign(
        [
          VirtualEnvironment.shared().program("rclone"), "mount", ":s3:" + bucket, place,
          "--vfs-cache-mode", "full", "--cache-dir", cache, "--read-only", "--config",
          "/dev/null", "--s3-provider", "Other", "--s3-force-path-style", "--s3-endpoint",
          server.url, "--s3-env-auth",
        ] + options, ["AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"], place)
    case .juicefs:
      guard let juice else { throw SupportError("JuiceFS has no volume here") }
      try juice.move(to: server)
      return try foreign(
        [
          juice.program, "mount", juice.metadata, place, "--cache-dir", cache,
          "--no-usage-report", "--read-only",
        ] + options, [:], place)
    }
  }

  private func foreign(
    _ command: [String], _ environment: [String: String], _ place: String
  ) throws -> MountedSystem {
    let mount = try ForeignMount(
      prefix + command, environment: environment, at: place, log: logs + "/" + "peer.log")
    return MountedSystem(path: place, pid: mount.child.pid, runAs: []) {
      try mount.unmount(within: unmountPatience)
    }
  }

  private func millrace(
    _ kind: SystemKind, _ server: LinkProcess, _ bucket: String, _ place: String, _ cache: String,
    _ more: [String]
  ) throws -> MountedSystem {
    let program = try Checkout.millrace()
    var runAs: [String] = []
    if kind == .ordinary {
      let user = "\(Self.nobody)"
      runAs = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"]
      chown(place, uid_t(Self.nobody), gid_t(Self.nobody))
      chown(cache, uid_t(Self.nobody), gid_t(Self.nobody))
    }
    let options = more + (kind == .plainPath ? ["--no-passthrough"] : [])
    let mount = try ForeignMount(
      prefix + runAs + [
        program, "mount", "s3://" + bucket, place, "--foreground", "--cache-dir", cache,
        "--endpoint-url", server.url, "--no-sign-request",
      ] + options, environment: ["HOME": cache], at: place, log: logs + "/millrace.log")
    let caller = runAs
    return MountedSystem(path: place, pid: mount.child.pid, runAs: runAs) {
      _ = try CommandResult.check(
        caller + [program, "unmount", place], environment: ["HOME": cache],
        within: unmountPatience)
      try mount.unmount(within: unmountPatience)
    }
  }
}

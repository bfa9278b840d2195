import Glibc
import TestSupport

/// One way of having the data set as a folder. `cache` is the system's own, kept between mounts.
protocol MountedSystem {
  var name: String { get }
  /// What was set beyond the defaults, for the table's foot.
  var remark: String { get }
  /// Mounts the bucket over `cache` and returns the folder of the data set.
  func mount(at place: String, cache: String) throws -> any Mounted
}

/// A mount that can be read until it is taken away.
protocol Mounted {
  var path: String { get }
  func unmount() throws
}

/// The files themselves: the bound that all others are held against.
struct PlainFolder: MountedSystem {
  let tree: String
  let name = "plain folder"
  let remark = "the files themselves, on the same disk"

  func mount(at place: String, cache: String) -> any Mounted { Plain(path: tree) }

  private struct Plain: Mounted {
    let path: String
    func unmount() {}
  }
}

struct MillraceSystem: MountedSystem {
  let endpoint: S3Endpoint
  let passthrough: Bool
  var name: String { passthrough ? "millrace" : "millrace, plain path" }
  var remark: String {
    passthrough ? "default options" : "--no-passthrough, otherwise default options"
  }

  func mount(at place: String, cache: String) throws -> any Mounted {
    let mount = try MountedMillrace(
      "s3://data", cache: cache, at: place, options: passthrough ? [] : ["--no-passthrough"],
      environment: endpoint.environment)
    return Running(mount: mount)
  }

  private struct Running: Mounted {
    let mount: MountedMillrace
    var path: String { mount.path }
    func unmount() throws { try mount.unmount() }
  }
}

/// Debian's s3fs. Without use_cache it keeps nothing on disk, so that is set.
struct S3fsSystem: MountedSystem {
  let endpoint: S3Endpoint
  let passwords: String
  let name = "s3fs"
  let remark = "-o use_cache (its disk cache), otherwise default options"

  init?(endpoint: S3Endpoint, scratch: TemporaryFolder) throws {
    guard findProgram("s3fs") != nil else { return nil }
    self.endpoint = endpoint
    passwords = try scratch.file(
      "s3fs-password", text: "\(endpoint.accessKey):\(endpoint.secretKey)\n")
    chmod(passwords, 0o600)
  }

  func mount(at place: String, cache: String) throws -> any Mounted {
    try ForeignMount(
      [
        "s3fs", "data", place, "-f", "-o", "url=\(endpoint.url)", "-o", "use_path_request_style",
        "-o", "passwd_file=\(passwords)", "-o", "use_cache=\(cache)", "-o", "ro",
      ], environment: [:], at: place, log: cache + ".log")
  }
}

/// rclone mount. Without --vfs-cache-mode full it keeps nothing on disk, so that is set.
struct RcloneSystem: MountedSystem {
  let endpoint: S3Endpoint
  let program: String
  let name = "rclone"
  let remark = "--vfs-cache-mode full (its disk cache), otherwise default options"

  init(endpoint: S3Endpoint) throws {
    self.endpoint = endpoint
    program = try VirtualEnvironment.shared().program("rclone")
  }

  func mount(at place: String, cache: String) throws -> any Mounted {
    try ForeignMount(
      [
        program, "mount", ":s3:data", place, "--vfs-cache-mode", "full", "--cache-dir", cache,
        "--read-only", "--config", "/dev/null", "--s3-provider", "Other", "--s3-force-path-style",
        "--s3-endpoint", endpoint.url, "--s3-env-auth",
      ], environment: endpoint.environment, at: place, log: cache + ".log")
  }
}

/// Another project's mount: its program in the foreground.
struct ForeignMount: Mounted {
  let path: String
  private let child: ChildProcess

  init(_ command: [String], environment: [String: String], at place: String, log: String) throws {
    path = place
    child = try ChildProcess(
      command, environment: environment,
      streams: ChildProcess.Streams(output: log, errors: log), deathSignal: .terminate)
    let child = child
    let usable = waitFor(within: .seconds(30)) { () -> Bool? in
      if child.poll() != nil { return false }
      return Mounts.isMounted(place) ? true : nil
    }
    guard usable == true else {
      child.end()
      throw SupportError("\(command[0]) did not mount: \((try? readText(log)) ?? "")")
    }
  }

  func unmount() throws {
    _ = try CommandResult.run(["fusermount3", "-u", path])
    if child.wait(within: .seconds(30)) == nil { child.end() }
    Mounts.detach(path)
  }
}

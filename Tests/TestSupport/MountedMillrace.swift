public import Glibc
import Posix

/// A mount by the built `millrace` binary, as a user has it: a process of its own.
///
/// It runs with --foreground, so that its pid is ours: it can be killed, reaped, and it is told to
/// unmount if this process dies. Logs and cache are files that outlive the daemon; so a test can kill
/// it and mount again over the same cache folder.
public final class MountedMillrace: Sendable {
  /// GETs that a mount sends before it is ready: one byte of one file. They are in no counter of its stats.
  public static let checkGets = 1

  public let path: String
  public let log: String
  private let child: ChildProcess
  /// The folders made for this mount alone; removed after the unmount.
  private let scratch: TemporaryFolder
  private let kept: [any Sendable]

  /// `cache`: --cache-dir, which the caller keeps; it may be shared by mounts. `at`: an own, empty
  /// folder by default. `keeping`: what must live as long as the mount, such as its server. Returns once the
  /// daemon prints that it has mounted; throws with what it printed where it does not within `within`.
  public init(
    _ source: String, cache: String, at mountPoint: String? = nil, options: [String] = [],
    environment: [String: String] = [:], keeping kept: [any Sendable] = [],
    within: Duration = .seconds(30)
  ) throws {
    self.kept = kept
    let scratch = try TemporaryFolder("mount")
    self.scratch = scratch
    path = try mountPoint ?? scratch.folder("mnt")
    log = scratch.path("log")
    let said = scratch.path("said")
    let path = path
    child = try ChildProcess(
      [
        Checkout.millrace(), "mount", source, path, "--foreground", "--cache-dir", cache,
        "--log-file", log,
      ] + options,
      environment: environment, streams: ChildProcess.Streams(output: said, errors: said),
      deathSignal: .terminate)
    let child = child
    let usable = waitFor(within: within) { () -> Bool? in
      if child.poll() != nil { return false }
      // The program's own line, not the kernel's list: a mount point appears there before the daemon has all
      // of its threads, and an error after it takes the mount away again.
      guard let text = try? readText(said), text.contains("Mounted ") else { return nil }
      return Mounts.isMounted(path) ? true : nil
    }
    guard usable == true else {
      child.end(within: .seconds(5))
      Mounts.detach(path)
      throw SupportError("no mount of \(source): \((try? readText(said)) ?? "")\(logText)")
    }
  }

  public var pid: pid_t { child.pid }

  /// What the daemon logged so far.
  public var logText: String { (try? readText(log)) ?? "" }

  /// The mount as the kernel has it: false once it is unmounted, by whomever.
  public var isMounted: Bool { Mounts.isMounted(path) }

  /// `millrace unmount`, which must succeed, and the daemon's own clean end.
  public func unmount() throws {
    try CommandResult.check([Checkout.millrace(), "unmount", path], within: .seconds(60))
    try expectCleanEnd()
  }

  /// Waits for the daemon to end by itself and throws unless it exits with 0, the mount gone.
  public func expectCleanEnd(within: Duration = .seconds(30)) throws {
    guard let ending = child.wait(within: within) else {
      throw SupportError("the daemon of \(path) still runs after \(within): \(logText)")
    }
    guard ending == .exited(0) else {
      throw SupportError("the daemon of \(path) ended with \(ending): \(logText)")
    }
    guard !isMounted else { throw SupportError("\(path) is still mounted") }
  }

  /// kill -9, reaped. The mount stays behind, dead, until it is detached.
  public func kill9() {
    child.signal(SIGKILL)
    _ = child.wait(within: .seconds(20))
  }

  /// Takes a dead mount away, so that its folder can be used again.
  public func detach() { Mounts.detach(path) }

  public func signal(_ number: CInt) { child.signal(number) }

  /// What `millrace stats --json` says now.
  public func stats() throws -> MountStats {
    MountStats(
      json: try CommandResult.check([Checkout.millrace(), "stats", path, "--json"]).output)
  }

  /// The daemon's largest resident size so far, in bytes (VmHWM).
  public func peakResidentBytes() throws -> Int {
    let lines = try readText("/proc/\(pid)/status").split(separator: "\n")
    let line = lines.first { $0.hasPrefix("VmHWM:") } ?? ""
    return (Int(line.filter(\.isNumber)) ?? 0) << 10
  }

  deinit {
    if child.poll() == nil { child.end(SIGTERM, within: .seconds(10)) }
    Mounts.detach(path)
  }
}

/// The kernel's table of mounts.
public enum Mounts {
  public static func isMounted(_ path: String) -> Bool {
    guard let table = try? readText("/proc/self/mountinfo") else { return false }
    let wanted = escaped(path)
    return table.split(separator: "\n").contains { line in
      let fields = line.split(separator: " ", maxSplits: 5)
      return fields.count > 4 && fields[4] == wanted
    }
  }

  /// Lazily unmounts what is left at the path; nothing where nothing is.
  public static func detach(_ path: String) {
    for _ in 0..<4 where isMounted(path) {
      _ = try? CommandResult.run(["fusermount3", "-u", "-z", path], within: .seconds(20))
      if isMounted(path) {
        _ = try? CommandResult.run(["umount", "-l", path], within: .seconds(20))
      }
    }
  }

  /// Spaces, tabs, newlines and backslashes as mountinfo writes them.
  private static func escaped(_ path: String) -> String {
    path.map {
      switch $0 {
      case " ": "\\040"
      case "\t": "\\011"
      case "\n": "\\012"
      case "\\": "\\134"
      default: String($0)
      }
    }.joined()
  }
}

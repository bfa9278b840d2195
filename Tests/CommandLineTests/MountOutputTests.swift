import Glibc
import TestSupport
import Testing

@testable import millrace

/// What the built program says of mounts that are there.
@Suite(.serialized, .enabled(if: requireOrSkip(.fuse))) struct MountOutputTests {
  private struct Place {
    let scratch: TemporaryFolder
    let program: String
    var mount: String { scratch.path("mnt") }

    init() throws {
      scratch = try TemporaryFolder("output")
      program = try Checkout.millrace()
      try scratch.file("data/a", text: "hello\n")
      try scratch.folder("mnt")
    }

    func call(
      _ line: String, environment: [String: String] = [:]
    ) throws -> CommandResult {
      try CommandResult.run(
        [program] + line.split(separator: " ").map(String.init), environment: environment,
        folder: scratch.path, within: .seconds(40))
    }

    func detach() { _ = try? call("unmount --force \(mount)") }
  }

  @Test func relativePathsAreThoseOfTheCallersDirectory() throws {
    let place = try Place()
    defer { place.detach() }
    try place.scratch.file("list.csv", text: "path,size\na,6\n")
    let calls = [
      "mount ./data mnt --cache-dir cache --log-file log",
      "mount data mnt --cache cache -o log_file=log",
      "mount data mnt --cache-dir cache --manifest list.csv",
      "mount . mnt --prefix data --cache-dir cache",
    ]
    for call in calls {
      let mounted = try place.call(call)
      #expect(mounted.succeeded, "\(call): \(mounted.errors)")
      #expect(try readText(place.mount + "/a") == "hello\n", "\(call)")
      #expect(try place.call("unmount mnt").succeeded)
    }
    #expect(fileExists(place.scratch.path("log")) && fileExists(place.scratch.path("cache")))
    let ran = try place.call("run ./data new --cache-dir cache -- cat new/a")
    #expect(ran.output == "hello\n" && ran.succeeded, "\(ran.errors)")
  }

  @Test func theMountLineNamesTheLogWhichHasALineOfTheMount() throws {
    let place = try Place()
    defer { place.detach() }
    let mounted = try place.call("mount data mnt --cache-dir cache")
    let log = try #require(
      mounted.output.split(separator: "\n").first?.split(separator: " ").last?.dropLast())
    #expect(mounted.output.contains("; log \(log))"), "\(mounted.output)")
    #expect(mounted.output.contains("Only root can read it") == (geteuid() == 0))
    let text = try readText(String(log))
    #expect(text.split(separator: "\n").count == 1, "\(text)")
    for words in [
      "notice mounted", "version=\(Millrace.version)", "source=file://", "cache=", "passthrough=o",
    ] {
      #expect(text.contains(words), "\(words) in \(text)")
    }
    #expect(try place.call("unmount mnt").succeeded)
    #expect(!fileExists(String(log)), "a log without trouble does not stay")
  }

  @Test func mountsAreListedWithSourceProcessStateAndLog() throws {
    let place = try Place()
    defer { place.detach() }
    #expect(try !place.call("list").output.contains(place.mount))
    #expect(try place.call("mount data mnt --cache-dir cache").succeeded)
    let line = try #require(
      try place.call("list").output.split(separator: "\n").first { $0.contains(place.mount) })
    let cells = line.split(separator: " ").map(String.init)
    #expect(cells[0] == place.mount && cells[1] == "file://\(place.scratch.path("data"))")
    #expect(Int32(cells[2]).map { kill($0, 0) } == 0 && cells[3] == "running", "\(line)")
    #expect(fileExists(cells[4]), "\(line)")
    let json = try place.call("list --json").output
    #expect(json.contains("\"mountPoint\" : \"\(place.mount)\"") && json.contains("\"running\""))
    // An error of a path that is on none names those there are.
    let stray = try place.call("stats data")
    #expect(stray.errors.contains(place.mount) && stray.status == .exited(6), "\(stray.errors)")
    kill(try #require(Int32(cells[2])), SIGKILL)
    let isDead = waitFor(within: .seconds(20)) { () -> Bool? in
      let now = try? place.call("list").output.split(separator: "\n").first {
        $0.contains(place.mount)
      }
      return now?.contains(" dead") == true ? true : nil
    }
    #expect(isDead == true)
  }

  @Test func aBusyMountNamesTheProcessThatUsesIt() throws {
    let place = try Place()
    defer { place.detach() }
    #expect(try place.call("mount data mnt --cache-dir cache").succeeded)
    let user = try ChildProcess(["sleep", "600"], folder: place.mount)
    defer { user.end(SIGKILL) }
    let isThere = waitFor(within: .seconds(20)) {
      (try? readText("/proc/\(user.pid)/comm")) == "sleep\n" ? true : nil
    }
    #expect(isThere == true)
    let refused = try place.call("unmount mnt")
    #expect(refused.status == .exited(6))
    #expect(refused.errors.contains("used by pid "), "\(refused.errors)")
    #expect(refused.errors.contains("(sleep)"), "\(refused.errors)")
  }

  /// As a container or a service that was started while the mount was there.
  @Test(.enabled(if: requireOrSkip(.root)))
  func aMountNamespaceThatStillHasTheMountIsNamed() throws {
    let place = try Place()
    defer { place.detach() }
    #expect(try place.call("mount data mnt --cache-dir cache").succeeded)
    // Not those of other tests.
    let script = """
      for mount in $(awk '/ - fuse/ { print $5 }' /proc/self/mountinfo); do
        [ "$mount" = "$0" ] || umount -l "$mount"
      done
      echo there
      exec sleep 600
      """
    let holder = try ChildProcess(
      ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, place.mount],
      streams: ChildProcess.Streams(output: place.scratch.path("said")))
    defer { holder.end(SIGKILL) }
    #expect(
      waitFor(within: .seconds(20)) {
        (try? readText(place.scratch.path("said")))?.contains("there") == true ? true : nil
      } == true)
    let said = try place.call("unmount mnt")
    #expect(said.status == .exited(1))
    #expect(said.errors.contains("still has it") && said.errors.contains("(sleep)"), "\(said)")
    #expect(said.errors.contains("nsenter --target \(holder.pid)"), "\(said)")
    // The daemon ends with the last namespace.
    let mark = try #require(said.errors.firstRange(of: "daemon (pid "))
    let pid = try #require(Int32(said.errors[mark.upperBound...].prefix(while: \.isNumber)))
    holder.end(SIGKILL)
    #expect(waitFor(within: .seconds(60)) { kill(pid, 0) != 0 ? true : nil } == true)
  }

  /// Slurm sends them to every process of a step.
  @Test func signalsOfBatchSystemsDoNotEndAMount() throws {
    let place = try Place()
    defer { place.detach() }
    #expect(try place.call("mount data mnt --cache-dir cache").succeeded)
    let stats = try place.call("stats mnt --json").output
    let line = try #require(stats.split(separator: "\n").first { $0.hasPrefix("  \"pid\"") })
    let pid = try #require(Int32(line.filter(\.isNumber)))
    for number in [SIGUSR1, SIGUSR2] { #expect(kill(pid, number) == 0) }
    #expect(try readText(place.mount + "/a") == "hello\n")
    #expect(try place.call("unmount mnt").succeeded)
  }

  @Test func debugShowsOperationsAndATypoInTheEnvironmentIsWarnedOf() throws {
    let place = try Place()
    defer { place.detach() }
    let mounted = try place.call(
      "mount data mnt --cache-dir cache --log-file log --log-level debug",
      environment: ["MILLRACE_CACHE_SIZ": "1G"])
    #expect(mounted.succeeded)
    #expect(
      mounted.errors.contains("warning: MILLRACE_CACHE_SIZ is not an option")
        && mounted.errors.contains("did you mean MILLRACE_CACHE_SIZE?"), "\(mounted.errors)")
    #expect(try readText(place.mount + "/a") == "hello\n")
    #expect(!fileExists(place.mount + "/missing"))
    #expect(mkdir(place.mount + "/new", 0o755) != 0)
    #expect(try CommandResult.run(["ls", place.mount + "/.millrace"]).succeeded)
    #expect(try place.call("unmount mnt").succeeded)
    let log = try readText(place.scratch.path("log"))
    for words in [
      "fuse lookup node=1 name=a", "fuse open node=", "fuse read node=", "key=a", "key=a: ok, ",
      "fuse lookup node=1 name=missing: No such file or directory, ", "fuse releasedir node=",
      "fuse mkdir node=1 refused: EROFS",
    ] {
      #expect(log.contains(words), "\(words) in \(log)")
    }
    #expect(log.contains("warning MILLRACE_CACHE_SIZ is not an option"))
  }

  @Test func helpShowsGroupsDefaultsAndAllowedValues() throws {
    let place = try Place()
    let help = try CommandResult.run(
      [place.program, "mount", "--help"], environment: ["COLUMNS": "100"]
    ).output
    for words in [
      "COMMON OPTIONS:", "BUCKET OPTIONS:", "CACHE AND MEMORY:", "LOGGING:", "--cache-size <size>",
      "(default: 75%)", "(values: auto, off, all)", "hf://datasets/OWNER/NAME", "-f, --foreground",
    ] {
      // Wrapped anywhere.
      let text = help.split(whereSeparator: \.isWhitespace).joined(separator: " ")
      #expect(text.contains(words), "\(words) in \(help)")
    }
    #expect(!help.contains("--force-path-style") && !help.contains("folder"))
    let common = try #require(help.firstRange(of: "COMMON OPTIONS:"))
    let next = try #require(help[common.upperBound...].firstRange(of: "SOURCE OPTIONS:"))
    let count = help[common.upperBound..<next.lowerBound].split(separator: "\n").filter {
      $0.hasPrefix("  --")
    }.count
    #expect(count == 8, "the eight that a person needs first")
    let doctor = try CommandResult.run([place.program, "doctor", "--help"]).output
    #expect(doctor.contains("--endpoint-url") && !doctor.contains("--uid"), "\(doctor)")
  }
}

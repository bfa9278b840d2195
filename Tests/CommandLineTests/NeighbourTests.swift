import Glibc
import Logging
import ObjectStore
import Posix
import TestSupport
import Testing

@testable import Control
@testable import millrace

/// What strangers' names, records and sockets can do to the commands: nothing.
struct NeighbourTests {
  /// Escape sequences, ends of lines, C1 as character and as byte, a mark of direction.
  static let hostile = "a\u{1B}[31m\r\u{9B}2J\u{202E}\n\u{7F}\u{2028}b"

  static func isClean(_ text: String) -> Bool {
    text.unicodeScalars.allSatisfy {
      $0 == "\n" || printable(String($0)) == String($0)
    }
  }

  @Test func whatSteersATerminalIsShownAsEscape() {
    let shown = printable(Self.hostile)
    #expect(shown == #"a\x1b[31m\x0d\u{9b}2J\u{202e}\x0a\x7f\u{2028}b"#)
    #expect(printable(shown) == shown)
    #expect(printable("Grüße, 日本 🎉 a\\b") == "Grüße, 日本 🎉 a\\b")
    for value in UInt32(0)..<0x2100 {
      guard let scalar = Unicode.Scalar(value) else { continue }
      let category = scalar.properties.generalCategory
      if [.control, .lineSeparator, .paragraphSeparator].contains(category)
        || scalar.properties.isBidiControl
      {
        #expect(
          printable(String(scalar)).unicodeScalars.first == "\\", "U+\(String(value, radix: 16))")
      }
    }
  }

  @Test func namesThatAreNotUTF8ShowTheirBytes() {
    #expect(printable(bytes: [0x61, 0x9B, 0xFF, 0xC3, 0xBC, 0x0A, 0xC3]) == #"a\x9b\xffü\x0a\xc3"#)
  }

  @Test func jsonIsEscapedInJSONsOwnWay() {
    #expect(Output.safeJSON("{\n  \"a\" : \"ü\"\n}") == "{\n  \"a\" : \"ü\"\n}")
    #expect(Output.safeJSON("\u{1B}\u{9B}\u{202E}") == #"\u001b\u009b\u202e"#)
  }

  @Test func aNameForgesNoLineOfTheLog() throws {
    let scratch = try TemporaryFolder("log")
    let sink = try LogSink(file: scratch.path("log"))
    let logger = Logger(label: "t", factory: { _ in LineLogHandler(sink: sink, level: .info) })
    logger.error(
      "failed \(Self.hostile)",
      metadata: ["key": "\(Self.hostile)", "url": "https://u:canary@h/?sig=canary2"])
    let text = try readText(scratch.path("log"))
    #expect(text.split(separator: "\n").count == 1 && Self.isClean(text), "\(text)")
    #expect(text.contains("https://***@h/?sig=***"), "\(text)")
  }

  @Test func everyTableShowsHostileNamesHarmlessly() throws {
    let finding = Finding(grade: .ok, what: "read", detail: Self.hostile).line
    for text in [finding, Failure(Self.hostile).description] {
      #expect(Self.isClean(printable(text)))
    }
  }

  @Test func secretsOfAddressesAreFoundWhereverTheyStand() {
    for (text, masked) in [
      ("https://user:pass@host/p", "https://***@host/p"),
      ("HTTPS://token@host:80/a@b?x=1", "HTTPS://***@host:80/a@b?x=***"),
      (
        "--manifest=https://h/m?X-Amz-Signature=abc&X=1#f",
        "--manifest=https://h/m?X-Amz-Signature=***&X=***#f"
      ),
      ("source 'http://u:p@h/': and https://v:w@i/", "source 'http://***@h/': and https://***@i/"),
      ("https://u:p/q@host/", "https://***@host/"),
      ("https://host:8080/path@v1", "https://host:8080/path@v1"),
      ("http://[::1]:80/x", "http://[::1]:80/x"),
      ("hf://datasets/o/n@rev", "hf://datasets/o/n@rev"),
      ("s3://b/k@1?x=y", "s3://b/k@1?x=y"), ("https://h/?token", "https://h/?***"),
    ] {
      #expect(SecretMask.masked(text) == masked)
      #expect(SecretMask.masked(masked) == masked)
    }
  }

  @Test func onlyAProcessProvenToBeTheDaemonIsSignalled() {
    let record = DaemonRecord(
      pid: 100, startTime: "5", mountPoint: "/m", folder: "/f", owner: 1001)
    func facts(
      _ user: UInt32 = 1001, _ start: String = "5", program: Bool? = true, mount: Bool? = true
    ) -> DaemonProcess.Facts {
      DaemonProcess.Facts(user: user, startTime: start, isMillrace: program, servesMount: mount)
    }
    func isDaemon(_ facts: DaemonProcess.Facts, user: UInt32? = 1001, by caller: UInt32 = 0) -> Bool
    {
      facts.isDaemon(of: record, mountUser: user, caller: caller)
    }
    #expect(isDaemon(facts()))
    #expect(isDaemon(facts(program: false)), "another version, which serves the mount")
    #expect(isDaemon(facts(mount: nil)))
    #expect(
      isDaemon(facts(program: nil, mount: nil), by: 1001),
      "not dumpable: the kernel asks who signals")
    // Another user's, a later one of its pid, the user's own other program, one that cannot be looked at.
    #expect(!isDaemon(facts(0)))
    #expect(!isDaemon(facts(1002)))
    #expect(!isDaemon(facts(1001, "6")))
    #expect(!isDaemon(facts(program: false, mount: false)))
    #expect(!isDaemon(facts(program: nil, mount: nil)))
    #expect(!isDaemon(facts(), user: 1002))
  }

  /// A record of one user that names a process of another, as root finds it.
  @Test(.enabled(if: requireOrSkip(.root)))
  func aStrangersRecordLeadsRootToNoOtherProcess() throws {
    let victim = try ChildProcess(["sleep", "600"])
    defer { victim.end(SIGKILL) }
    let start = try #require(DaemonRecord.startTime(of: victim.pid))
    let mount = MountInfo.Entry(
      path: "/m", type: "fuse.millrace", source: "s", user: 65534,
      device: DeviceNumber(major: 0, minor: 9999))
    for owner in [65534, 0] as [UInt32] {
      let record = DaemonRecord(
        pid: victim.pid, startTime: start, mountPoint: "/m", folder: "/f", owner: owner)
      #expect(DaemonProcess(record, mount: mount) == nil)
    }
    #expect(victim.poll() == nil)
  }

  /// The directory above a mount point is replaced between the lookup and the unmount.
  @Test(.enabled(if: requireOrSkip(.root)))
  func aDirectoryThatIsReplacedLeadsRootToNoOtherMount() throws {
    let scratch = try TemporaryFolder("replaced")
    let places = ["ours/mnt", "victim/mnt"].map { scratch.path($0) }
    for place in places {
      try scratch.folder(String(place.dropFirst(scratch.path.count + 1)))
      #expect(mount("millrace-test", place, "tmpfs", 0, "size=4k") == 0)
    }
    defer {
      for place in places + [scratch.path("moved/mnt")] { umount2(place, Int32(MNT_DETACH)) }
    }
    let found = try #require(MountInfo.current().topmost(at: places[0]))
    #expect(rename(scratch.path("ours"), scratch.path("moved")) == 0)
    #expect(symlink(scratch.path("victim"), scratch.path("ours")) == 0)
    for lazily in [false, true] {
      guard case .failed = Unmounter.detachAsRoot(found, lazily: lazily) else {
        Issue.record("something was unmounted")
        continue
      }
    }
    #expect(MountInfo.current().topmost(at: places[1]) != nil)
    #expect(unlink(scratch.path("ours")) == 0)
    #expect(rename(scratch.path("moved"), scratch.path("ours")) == 0)
    #expect(Unmounter.detachAsRoot(found, lazily: false) == .done)
    #expect(MountInfo.current().topmost(at: places[0]) == nil)
  }

  @Test func aRecordThatIsALinkOrOpenToOthersIsNone() throws {
    let scratch = try TemporaryFolder("records")
    let folder = RuntimeFolder(path: scratch.path)
    let file = folder.file("/m", "mount")
    func found() -> Int32? { DaemonRecord.find(mountPoint: "/m", user: nil, in: [folder])?.pid }
    try DaemonRecord.write(mountPoint: "/m", log: nil, in: folder)
    #expect(found() == getpid())
    for mode in [0o620, 0o602, 0o666] as [mode_t] {
      #expect(chmod(file, mode) == 0 && found() == nil, "\(String(mode, radix: 8))")
    }
    #expect(chmod(file, 0o600) == 0 && found() == getpid())
    #expect(
      link(file, scratch.path("second")) == 0 && found() == nil, "another name of a file elsewhere")
    #expect(unlink(scratch.path("second")) == 0 && found() == getpid())
    #expect(rename(file, scratch.path("moved")) == 0 && symlink(scratch.path("moved"), file) == 0)
    #expect(found() == nil)
    // A pipe of that name holds nobody up.
    #expect(unlink(file) == 0 && mkfifo(file, 0o600) == 0 && found() == nil)
    #expect(unlink(file) == 0 && rename(scratch.path("moved"), file) == 0 && found() == getpid())
    // A user who is neither the caller, root nor the mount's.
    guard geteuid() == 0 else { return }
    #expect(chown(file, 65533, 65533) == 0 && found() == nil)
    #expect(DaemonRecord.find(mountPoint: "/m", user: 65533, in: [folder])?.owner == 65533)
  }

  @Test func anAnswerIsReadOnceAndBounded() {
    let body = [UInt8](repeating: 0x61, count: 1000)
    let whole = Array("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".utf8) + body
    for step in [1, 2, 3, 7, 5000] {
      var answer = ControlAnswer(headLimit: 200, bodyLimit: 1000)
      for start in stride(from: 0, to: whole.count, by: step) {
        #expect(!answer.isWhole)
        let fits = answer.append(whole[start..<min(start + step, whole.count)])
        #expect(fits)
      }
      #expect(
        answer.isWhole && answer.body == body && answer.head?.hasPrefix("HTTP/1.1 200") == true)
    }
    var long = ControlAnswer(headLimit: 200, bodyLimit: 999)
    let longFits = long.append(whole)
    #expect(!longFits, "longer than allowed by its own word")
    var endless = ControlAnswer(headLimit: 200, bodyLimit: 999)
    let endlessFits = endless.append([UInt8](repeating: 0x61, count: 201))
    #expect(!endlessFits, "a head without end")
    var silent = ControlAnswer(headLimit: 200, bodyLimit: 10)
    let headFits = silent.append("HTTP/1.1 200 OK\r\n\r\n".utf8)
    let bodyFits = silent.append(body)
    #expect(headFits && !bodyFits)
  }

  @Test func requestsAtOnceAreBounded() {
    let gate = ControlGate()
    for _ in 0..<ControlGate.limit { #expect(gate.enter()) }
    #expect(!gate.enter())
    gate.leave()
    #expect(gate.enter())
  }

  /// A socket that another user put in the place of a daemon's.
  @Test(.enabled(if: requireOrSkip(.root)))
  func aSocketOfAnotherUserIsNotAsked() throws {
    let scratch = try TemporaryFolder("socket")
    #expect(chmod(scratch.path, 0o777) == 0)
    let path = scratch.path("sock")
    let stranger = try ChildProcess([
      "python3", "-c",
      "import os,socket,time; s=socket.socket(socket.AF_UNIX); s.bind('\(path)'); os.setuid(65533); s.listen(); "
        + "time.sleep(600)",
    ])
    defer { stranger.end(SIGKILL) }
    #expect(waitFor(within: .seconds(20)) { FileStatus(of: path) != nil ? true : nil } == true)
    let found = waitFor(within: .seconds(20)) { () -> String? in
      do throws(ControlClient.Failure) {
        _ = try ControlClient.stats(
          socket: ControlSocket(path: path, owner: 65534), timeoutSeconds: 1)
        return "answered"
      } catch {
        // Bound and not yet listening.
        return error.description.contains("connecting") ? nil : error.description
      }
    }
    #expect(found?.contains("belongs to a process of user 65533") == true, "\(found ?? "")")
  }
}

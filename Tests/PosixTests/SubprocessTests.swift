import Glibc
import Posix
import SystemPackage
import TestSupport
import Testing

@Suite struct SubprocessTests {
  private func shell(
    _ script: String, _ change: (inout Subprocess.Options) -> Void = { _ in }
  ) throws -> Subprocess {
    var options = Subprocess.Options()
    change(&options)
    return try Subprocess(["sh", "-c", script], options)
  }

  @Test(arguments: [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 128 + 15)] as [(String, CInt)])
  func theEndIsTheExitCodeOrTheSignal(script: String, code: CInt) throws {
    #expect(try shell(script).wait() == code)
    #expect(try shell(script).wait(until: .now + .seconds(600)) == code)
    let polled = try shell(script)
    #expect(waitFor(within: .seconds(600)) { polled.poll() } == code)
  }

  @Test func aProgramThatIsNotThereIsAnError() {
    #expect(throws: Errno.noSuchFileOrDirectory) { try Subprocess(["millrace-no-such-program"]) }
    #expect(throws: Errno.invalidArgument) { try Subprocess([]) }
  }

  @Test func streamsDescriptorsAndVariablesAreThoseThatAreGiven() throws {
    let scratch = try TemporaryFolder("subprocess")
    try writeFile(scratch.path("in"), Array("word\n".utf8))
    let input = open(scratch.path("in"), O_RDONLY | O_CLOEXEC)
    let output = open(scratch.path("out"), O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
    let extra = open(scratch.path("extra"), O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
    defer { for file in [input, output, extra] { close(file) } }
    let program = try shell("read line; echo $line $WORD; echo lost >&2; echo more >&9") {
      $0.environment = ["WORD": "set", "PATH": "/usr/bin:/bin"]
      $0.standardInput = .descriptor(input)
      $0.standardOutput = .descriptor(output)
      $0.standardError = .null
      $0.descriptors = [(extra, 9)]
    }
    #expect(program.wait() == 0)
    #expect(readSmallFile(scratch.path("out")) == "word set\n")
    #expect(readSmallFile(scratch.path("extra")) == "more\n")
  }

  @Test func aGroupOfItsOwnEndsWithItsChildren() throws {
    var ends: [CInt] = [-1, -1]
    let kind = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
    try #require(socketpair(AF_UNIX, kind, 0, &ends) == 0)
    defer { close(ends[0]) }
    let program = try shell("sleep 600 & echo x >&9; wait") {
      $0.group = .own
      $0.descriptors = [(ends[1], 9)]
    }
    close(ends[1])
    var byte = [UInt8](repeating: 0, count: 2)
    #expect(read(ends[0], &byte, 2) == 2)
    #expect(program.wait(until: .now) == nil && getpgid(program.pid) == program.pid)
    program.killGroup()
    // The end of what all of them had open.
    #expect(read(ends[0], &byte, 1) == 0)
  }

  /// A daemon holds nothing of what the shell had open.
  @Test func aSessionOfItsOwnHasNoOtherDescriptors() throws {
    let scratch = try TemporaryFolder("session")
    // Without O_CLOEXEC: any other child would have it.
    let leak = open("/dev/null", O_RDONLY)
    let output = open(scratch.path("out"), O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
    defer { for file in [leak, output] { close(file) } }
    let program = try shell(
      "test -e /proc/$$/fd/\(leak) && echo leaked; cut -d ' ' -f 6 /proc/$$/stat"
    ) {
      $0.group = .session
      $0.standardInput = .null
      $0.standardOutput = .descriptor(output)
    }
    #expect(program.wait() == 0)
    #expect(readSmallFile(scratch.path("out")) == "\(program.pid)\n")
  }

  @Test func signalsThatAreBlockedHereAreNotBlockedThereUnlessInherited() throws {
    for inherits in [false, true] {
      let blocked = Monitor<String?>(nil)
      let thread = Posix.Thread(named: "blocking") {
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGUSR1)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        let scratch = try? TemporaryFolder("signals")
        guard let scratch else { return }
        let output = open(scratch.path("out"), O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        defer { close(output) }
        var options = Subprocess.Options()
        options.standardOutput = .descriptor(output)
        options.inheritsSignals = inherits
        _ = try? Subprocess(["grep", "SigBlk", "/proc/self/status"], options).wait()
        let text = readSmallFile(scratch.path("out"))
        blocked.signal { $0 = text }
      }
      thread.join()
      let mask = blocked.withLock { $0 }?.split(separator: "\t").last?.filter(\.isHexDigit)
      let signals = mask.flatMap { UInt64($0, radix: 16) }
      #expect(signals.map { $0 & (1 << UInt64(SIGUSR1 - 1)) != 0 } == inherits)
    }
  }
}

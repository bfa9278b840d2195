import FuseFrontEnd
import Glibc
import ObjectStore
import Posix
import TestSupport
import Testing

@testable import millrace

/// What people type wrong first, and the answers: one line each, with what to do, and an exit code that scripts can use.
///
/// One after the other: eighty processes at a time would starve the tests beside them.
@Suite(.serialized) struct WrongCallTests {
  /// A call in a directory that has src/a, full/x, mnt (empty) and cache.
  struct Call: Sendable, CustomTestStringConvertible {
    var words: [String]
    var code: Int32
    var says: [String]
    var environment: [String: String] = [:]
    var testDescription: String { words.joined(separator: " ") }

    init(_ line: String, _ code: Int32, _ says: String..., environment: [String: String] = [:]) {
      words = line.split(separator: " ").map { $0 == "''" ? "" : String($0) }
      self.code = code
      self.says = says
      self.environment = environment
    }
  }

  static let calls: [Call] = [
    // No command, or one of another program's.
    Call("mountt src mnt", 2, "unknown command 'mountt'; did you mean millrace mount?"),
    Call("unmont mnt", 2, "did you mean millrace unmount?"),
    Call("status", 2, "did you mean millrace list"),
    Call("version", 2, "did you mean millrace --version?"),
    Call("--verison", 2, "did you mean --version?"),
    Call("xyzzy", 2, "unknown command 'xyzzy'; see millrace --help"),
    Call("s3://bucket mnt", 2, "did you mean millrace mount SOURCE MOUNTPOINT?"),
    Call("mount", 2, "'<source>'", "see millrace mount --help"),
    Call("mount src", 2, "'<mountpoint>'", "see millrace mount --help"),
    Call("mount src mnt more", 2, "Unexpected argument 'more'"),
    Call("warm", 2, "'<paths>", "see millrace warm --help"),
    // Sources.
    Call("mount mybucket mnt", 2, "no such directory; did you mean s3://mybucket?"),
    Call("mount s3:/bucket mnt", 2, "two slashes; did you mean s3://bucket?"),
    Call("mount http:h/p mnt", 2, "did you mean http://h/p?"),
    Call("mount file:/src mnt", 2, "did you mean file:///src?"),
    Call("mount file://src mnt", 2, "three slashes"),
    Call("mount s3a://bucket/p mnt", 2, "did you mean s3://bucket/p?"),
    Call(
      "mount gs://bucket/p mnt", 2, "s3://bucket/p --endpoint-url https://storage.googleapis.com",
      "HMAC"),
    Call("mount r2://bucket mnt", 2, "s3://bucket --endpoint-url"),
    Call("mount ftp://h/ mnt", 2, "unknown scheme 'ftp'; a source is s3://BUCKET"),
    Call("mount hf://nobody mnt", 2, "hf://datasets/OWNER/NAME"),
    Call("mount http:///p mnt", 2, "no host"),
    Call("mount s3:// mnt", 2, "no bucket in it"),
    Call("mount s3://My_Bucket! mnt", 2, "'My_Bucket!' cannot be a bucket's name"),
    Call("mount src/a mnt", 2, "'src/a' is a file; a source is a directory"),
    Call("mount src/nothere mnt", 3, "there is no such directory"),
    Call("mount file:///no/such mnt --cache-dir cache", 3, "/no/such"),
    Call("mount src mnt --prefix nothere", 3, "'src/nothere': there is no such directory"),
    Call("mount '' mnt", 2, "it is empty"),
    // Mount points.
    Call("mount src nothere", 6, "mount point nothere does not exist; create it: mkdir -p nothere"),
    Call("mount src full", 6, "is not empty; choose another directory, or give --nonempty"),
    Call("mount src src/a", 6, "mount point src/a is not a directory"),
    Call("mount src /proc", 6, "/proc is already a mount point (proc)"),
    // Options.
    Call("mount src mnt --bogus", 2, "Unknown option '--bogus'", "see millrace mount --help"),
    Call("mount src mnt --cache_size 10G", 2, "Did you mean '--cache-size'?"),
    Call("mount src mnt --cache-size 10X", 2, "--cache-size '10X': expected a size such as 512M"),
    Call("mount src mnt --cache-min-free 200%", 2, "--cache-min-free '200%': expected a size"),
    Call("mount src mnt --metadata-ttl 5min", 2, "expected a time such as 60s, 5m, 0 or forever"),
    Call("mount src mnt --prefetch yes", 2, "--prefetch 'yes': expected one of auto, off, all"),
    Call("mount src mnt --prefetch-budget 0", 2, "expected a multiple from 1x to 1000x"),
    Call("mount src mnt --eviction fifo", 2, "expected one of epoch, lru"),
    Call("mount src mnt --log-level verbose", 2, "expected one of trace, debug, info, notice"),
    Call("mount src mnt --endpoint-url 127.0.0.1:9000", 2, "a URL such as https://HOST[:PORT]"),
    Call("mount src mnt --uid nobody", 2, "--uid 'nobody': expected a number"),
    Call("mount src mnt --file-mode rw", 2, "expected an octal mode such as 0644"),
    Call("mount src mnt --threads 0", 2, "expected a number from 1 to 64"),
    Call("mount src mnt --io-timeout 0", 2, "--io-timeout: expected a time from 1ms to 1d"),
    Call("mount src mnt --max-bandwidth 10%", 2, "expected bytes a second, such as 200MB"),
    Call("mount s3://b mnt --at tomorrow", 2, "--at 'tomorrow': expected a moment in the past"),
    Call("mount src mnt --at 3h", 2, "--at needs a bucket as source"),
    Call("mount src mnt --snapshot a --manifest b", 2, "are mutually exclusive"),
    Call("mount src mnt --snapshot a --cache-dir none", 2, "--snapshot needs a cache directory"),
    Call("mount s3://b mnt --path-style --virtual-host", 2, "are mutually exclusive"),
    Call("mount s3://b mnt --ca-bundle nothere", 2, "--ca-bundle 'nothere': expected a file"),
    Call("mount s3://b mnt --client-key src/a", 2, "--client-key needs --client-cert"),
    Call("mount src mnt -o allow_other,bogus=1", 2, "Unknown option '--bogus'"),
    Call("mount src mnt -o rw", 2, "-o rw: every mount is read-only"),
    Call("mount src mnt -o", 2, "-o: expected options such as -o allow_other,cache_dir="),
    Call("mount src mnt --cache /proc/x", 1, "/proc/x", "--cache-dir"),
    Call(
      "mount src mnt", 2, "MILLRACE_CACHE_SIZE '10X': expected a size",
      environment: ["MILLRACE_CACHE_SIZE": "10X"]),
    // Stores.
    Call(
      "mount s3://b mnt --region us-east-1 --cache-dir cache", 4, "credentials",
      "--no-sign-request",
      environment: ["HOME": "/nonexistent"]),
    Call(
      "mount s3://b mnt --no-sign-request --endpoint-url http://127.0.0.1:1 --cache-dir cache", 5,
      "127.0.0.1"),
    Call("mount src mnt --snapshot v1 --cache-dir cache", 2, "v1", "millrace snapshot create"),
    // Commands on a mount.
    Call("unmount mnt", 6, "/mnt is not a mount point"),
    Call("unmount /proc", 6, "/proc is a mount of type proc and not of millrace; use umount"),
    Call("stats mnt", 6, "/mnt is not on a mount of millrace"),
    Call("warm nothere", 6, "is not on a mount of millrace"),
    Call("order mnt nofile", 6, "is not on a mount of millrace"),
    Call("top --interval 0 mnt", 2, "--interval: 0.2 to 60"),
    Call("warm mnt --order", 2, "--order needs --list"),
    Call("snapshot diff v1 --cache-dir cache", 2, "v1", "millrace snapshot create"),
    Call("snapshot rm v1 --cache-dir cache", 1, "there is no snapshot v1"),
    // run.
    Call("run src mnt", 125, "no command after --"),
    Call("run src mnt python x.py", 125, "unexpected arguments", "put -- before the command"),
    Call("run src mnt python --data x", 125, "put -- before the command"),
    Call("run nothere/ mnt -- true", 125, "there is no such directory"),
    Call("run src full --cache-dir cache -- true", 125, "is not empty"),
    Call("run src mnt --cache-dir cache -- nosuch", 127, "cannot run nosuch: No such file"),
  ]

  @Test(arguments: calls) func aWrongCallIsAnsweredInOneLineWithWhatToDo(_ call: Call) throws {
    let scratch = try TemporaryFolder("wrong")
    try scratch.file("src/a", text: "hello\n")
    try scratch.file("full/x", text: "")
    try scratch.folder("mnt")
    let result = try CommandResult.run(
      [try Checkout.millrace()] + call.words, environment: call.environment, folder: scratch.path,
      within: .seconds(60))
    #expect(result.status == .exited(call.code), "\(result.errors)")
    #expect(result.errors.hasPrefix("millrace: "))
    #expect(result.errors.filter(\.isNewline).count == 1, "one line: \(result.errors)")
    for words in call.says { #expect(result.errors.contains(words), "\(result.errors)") }
    #expect(MountInfo.current().topmost(at: scratch.path("mnt")) == nil)
  }

  @Test func aMistypedVariableIsWarnedOfWithTheNearestName() throws {
    func warnings(_ names: String...) -> [String] {
      Variables.warnings(Dictionary(uniqueKeysWithValues: names.map { ($0, "x") }))
    }
    #expect(
      warnings("MILLRACE_CACHE_DIRR").first?.contains("did you mean MILLRACE_CACHE_DIR?") == true)
    #expect(warnings("MILLRACE_FILL").count == 1)
    #expect(
      warnings("MILLRACE_TYPO") == [
        "MILLRACE_TYPO is not an option of millrace and is ignored; see millrace mount --help"
      ])
    let known = Variables.options.map(OptionValues.variable)
    #expect(known.count > 45 && known.contains("MILLRACE_PREFETCH_BUDGET"), "\(known)")
    for name in known + ["MILLRACE_BEARER_TOKEN", "MILLRACE_SERVICE_HOST", "MILLRACE_PORT_80_TCP"] {
      #expect(warnings(name) == [], "\(name)")
    }
    #expect(warnings("PATH", "MILL") == [])
  }

  @Test func optionsAsPeersTypeThemBecomeOurs() throws {
    let table: [(String, String)] = [
      ("mount s3://b m -o allow_other,cache_dir=/x", "mount s3://b m --allow-other --cache-dir=/x"),
      ("mount s3://b m -oro,_netdev,uid=5", "mount s3://b m --uid=5"),
      ("mount s3://b m -o defaults,x-systemd.automount", "mount s3://b m"),
      (#"mount s3://b m -o prefix=a\,b"#, "mount s3://b m --prefix=a,b"),
      ("mount s3://b m --cache /x", "mount s3://b m --cache-dir /x"),
      ("mount s3://b m --force-path-style --dual-stack", "mount s3://b m --path-style --dualstack"),
      ("mount s3://b m -o cache=/x,force_path_style", "mount s3://b m --cache-dir=/x --path-style"),
      ("run s3://b m -f -- ls -o x --cache y", "run s3://b m -f -- ls -o x --cache y"),
      ("warm -o x", "warm -o x"),
    ]
    for (typed, ours) in table {
      let words = typed.split(separator: " ").map(String.init)
      #expect(
        try PeerHabits.applied(to: words).joined(separator: " ") == ours, "\(typed)")
    }
  }

  @Test func eachFailureOfAStoreHasTheExitCodeThatScriptsNeed() {
    let table: [(StoreError.Kind, Int32)] = [
      (.noSuchStore, 3), (.notFound, 3), (.accessDenied, 4), (.badCredentials, 4),
      (.unreachable, 5), (.timedOut, 5), (.throttled, 5), (.serverFailure, 5), (.invalidSource, 2),
      (.tls, 1), (.badReply, 1), (.unsupported, 1),
    ]
    for (kind, code) in table {
      #expect(Failure(StoreError(kind, store: "s3://b", detail: "x")).code == code, "\(kind)")
    }
    #expect(Failure(MountError("x")).code == 6)
    #expect(Failure("x").code == 1 && Failure.usage("x").code == 2)
  }

  @Test func theNearestNameIsFoundWithinAThirdOfItsLetters() {
    let names = ["mount", "unmount", "warm", "list"]
    #expect(Suggestion.nearest(to: "muont", in: names) == "mount")
    #expect(Suggestion.nearest(to: "wram", in: names) == "warm")
    #expect(Suggestion.nearest(to: "lst", in: names) == "list")
    #expect(Suggestion.nearest(to: "zzzz", in: names) == nil)
    #expect(Suggestion.distance(Array("kitten".utf8), Array("sitting".utf8)) == 3)
  }
}

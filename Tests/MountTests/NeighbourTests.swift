import Glibc
import LinkServer
import Posix
import TestSupport
import Testing

extension MountTests {
  /// Other users of the machine, and what they can read of a mount that is not theirs.
  @Suite(.serialized) struct Neighbours {
    /// A different word for each way in, and what it looks like on the wire.
    private struct Canaries {
      var words: [String: String] = [:]

      mutating func plant(_ name: String) -> String {
        let word = "canary\(words.count)x\(String(UInt64.random(in: .min ... .max), radix: 36))"
        words[name] = word
        return word
      }

      /// No text may hold one, nor its base64 (without the first and last letters, which depend on what is beside).
      func expectNone(in text: String, _ place: String) {
        for (name, word) in words {
          #expect(!text.contains(word), "\(name) in \(place)")
          for shift in 0..<3 {
            let bytes = [UInt8](repeating: 0x3A, count: shift) + Array(word.utf8)
            let coded = Base64Text.encode(bytes).dropFirst(4).dropLast(4)
            #expect(!text.contains(coded), "\(name) in base64 in \(place)")
          }
        }
      }
    }

    /// All that anybody can see of a mount, and all that a command prints of it.
    private func look(_ canaries: Canaries, at mount: String, cache: String) throws {
      for name in try namesIn("/proc") {
        let process = String(decoding: name, as: UTF8.self)
        guard pid_t(process) != nil, let line = try? readText("/proc/\(process)/cmdline") else {
          continue
        }
        // The test's own children that are not ours: servers and shells.
        guard line.contains("millrace") && line.contains("mount") else { continue }
        canaries.expectNone(in: line, "cmdline of \(process)")
      }
      canaries.expectNone(in: try readText("/proc/self/mountinfo"), "mountinfo")
      let program = try Checkout.millrace()
      for arguments in [
        ["stats", mount], ["stats", mount, "--json"],
        ["top", mount, "--once", "--interval", "0.2"],
        ["du", mount, "--json"], ["refresh", mount],
      ] {
        let result = try CommandResult.run([program] + arguments)
        #expect(result.succeeded, "\(result)")
        canaries.expectNone(in: result.output + result.errors, "\(arguments[0])")
      }
      let stats = MountStats(
        json: try CommandResult.check([program, "stats", mount, "--json"]).output)
      let socket = try stats.text("socket")
      let jobs = try CommandResult.check([
        "curl", "-sS", "--unix-socket", socket, "http://millrace/v1/jobs",
      ])
      canaries.expectNone(in: jobs.output, "the control socket")
      for word in canaries.words.values {
        let found = try CommandResult.run(["grep", "-rlaF", "--", word, cache])
        #expect(found.output.isEmpty, "\(found.output)")
        let named = try CommandResult.run(["find", cache, "-name", "*\(word)*"])
        #expect(named.output.isEmpty, "\(named.output)")
      }
      // <runtime folder>/<id>.<pid>.sock and <id>.log
      let id = socket.split(separator: "/").last.map { $0.prefix { $0 != "." } } ?? ""
      let folder = socket.prefix(upTo: socket.lastIndex(of: "/") ?? socket.endIndex)
      let log = try readText("\(folder)/\(id).log")
      #expect(log.contains(" notice ") || log.contains(" info "), "nothing logged: \(log)")
      canaries.expectNone(in: log, "the log")
      let pid = try stats.number("pid")
      let limits = try readText("/proc/\(pid)/limits")
      let core = limits.split(separator: "\n").first { $0.hasPrefix("Max core file size") }
      #expect(
        core?.split(whereSeparator: \.isWhitespace).filter { $0 == "0" }.count == 2, "\(limits)")
    }

    @Test func noSecretIsInAnythingThatIsShown() throws {
      let scratch = try TemporaryFolder("canaries")
      try scratch.file("site/data/a", text: "hello")
      let nginx = try Nginx.start(root: scratch.path("site"))
      var canaries = Canaries()
      let password = canaries.plant("password of the address")
      let signature = canaries.plant("signature of the manifest")
      let certificate = try scratch.file("client.pem", text: canaries.plant("client key"))
      try scratch.file("site/list.csv", text: "path,size\na,5\n")
      let cache = try scratch.folder("cache")
      let mount = try scratch.folder("mnt")
      let program = try Checkout.millrace()
      defer { Mounts.detach(mount) }
      let proxy = canaries.plant("password of the proxy")
      let source = nginx.url.replacing("http://", with: "http://user:\(password)@") + "/data/"
      let mounted = try CommandResult.run(
        [
          program, "mount", source, mount, "--cache-dir", cache, "--client-cert", certificate,
          "--manifest", nginx.url + "/list.csv?X-Amz-Signature=\(signature)", "--log-level",
          "debug",
        ],
        environment: [
          "http_proxy": "http://u:\(proxy)@127.0.0.1:9", "no_proxy": "127.0.0.1,localhost",
        ])
      #expect(mounted.succeeded, "\(mounted)")
      canaries.expectNone(in: mounted.output + mounted.errors, "mount")
      #expect(try readText(mount + "/a") == "hello")
      #expect(throws: (any Error).self) { try readText(mount + "/none") }
      try look(canaries, at: mount, cache: cache)
      try CommandResult.check([program, "unmount", mount])

      // What fails says why, and not with what.
      let token = canaries.plant("bearer token")
      let login = canaries.plant("password of netrc")
      let netrc = try scratch.file(
        "netrc", text: "machine 127.0.0.1 login u password \(login)\n")
      chmod(netrc, 0o600)
      let identity = try scratch.file("identity", text: canaries.plant("web identity token"))
      let closed = "http://127.0.0.1:1"
      for (arguments, environment) in [
        ([source.replacing("/data/", with: "/no/")], [:]),
        (["http://u:\(password)/x@127.0.0.1/"], [:]), (["ftp://u:\(password)@h/"], [:]),
        ([closed + "/", "--netrc-file", netrc], [:]),
        ([closed + "/", "--manifest", closed + "/m?sig=\(signature)"], [:]),
        ([closed + "/x?sig=\(signature)"], [:]),
        ([closed + "/"], ["MILLRACE_BEARER_TOKEN": token]),
        ([nginx.url + "/no/"], ["MILLRACE_BEARER_TOKEN": token]),
        (
          ["s3://b", "--endpoint-url", closed],
          [
            "AWS_WEB_IDENTITY_TOKEN_FILE": identity, "AWS_ROLE_ARN": "arn:aws:iam::1:role/r",
            "AWS_ENDPOINT_URL_STS": closed,
          ]
        ),
      ] as [([String], [String: String])] {
        for command in ["doctor", "mount"] {
          let place = command == "mount" ? [mount] : []
          let result = try CommandResult.run(
            [program, command, arguments[0]] + place + ["--cache-dir", cache]
              + arguments.dropFirst(), environment: environment)
          #expect(!result.succeeded, "\(command) \(arguments)")
          canaries.expectNone(in: result.output + result.errors, "\(command) \(arguments)")
        }
      }
    }

    @Test func noKeyOfABucketIsInAnythingThatIsShown() throws {
      let scratch = try TemporaryFolder("keys")
      try scratch.file("buckets/data/a", text: "hello")
      let server = try LinkServer(folder: scratch.path("buckets"), link: .s3)
      defer { server.stop() }
      var canaries = Canaries()
      let customer = String(
        (canaries.plant("SSE-C key") + String(repeating: "k", count: 32)).prefix(32))
      let key = try scratch.file("key", text: customer)
      let output =
        #"{"Version":1,"AccessKeyId":"AKIDPROCESS","SecretAccessKey":"\#(canaries.plant("process"))","#
        + #""SessionToken":"\#(canaries.plant("token of a process"))"}"#
      let said = try scratch.file("said", text: output)
      let config = try scratch.file(
        "config", text: "[profile p]\ncredential_process = cat \(said)\n")
      let cache = try scratch.folder("cache")
      let mount = try scratch.folder("mnt")
      let program = try Checkout.millrace()
      defer { Mounts.detach(mount) }
      let direct = [
        "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": canaries.plant("secret key"),
        "AWS_SESSION_TOKEN": canaries.plant("session token"),
      ]
      let byProcess = ["AWS_CONFIG_FILE": config, "AWS_PROFILE": "p"]
      for environment in [direct, byProcess] {
        let options = [
          "--cache-dir", cache, "--endpoint-url", "http://127.0.0.1:\(server.port)",
          "--sse-customer-key-file", key, "--log-level", "debug",
        ]
        let mounted = try CommandResult.run(
          [program, "mount", "s3://data", mount] + options, environment: environment)
        #expect(mounted.succeeded, "\(mounted)")
        canaries.expectNone(in: mounted.output + mounted.errors, "mount")
        #expect(try readText(mount + "/a") == "hello")
        try look(canaries, at: mount, cache: cache)
        let doctor = try CommandResult.run(
          [program, "doctor", "s3://data"] + options, environment: environment)
        canaries.expectNone(in: doctor.output + doctor.errors, "doctor")
        try CommandResult.check([program, "unmount", mount])
        // A store that is gone.
        let failed = try CommandResult.run(
          [program, "mount", "s3://data", mount] + options + [
            "--endpoint-url", "http://127.0.0.1:1",
          ],
          environment: environment)
        #expect(!failed.succeeded)
        canaries.expectNone(in: failed.output + failed.errors, "a mount that fails")
      }
    }

    /// Names and the names of processes are strangers' text.
    @Test func noNameSteersATerminal() throws {
      let scratch = try TemporaryFolder("names")
      let name = "a\u{1B}[31m\r\u{9B}2J\u{202E}\nb"
      try scratch.file("src/\(name)/\(name)", text: "hello")
      try scratch.file("src/raw", text: "x")
      let cache = try scratch.folder("cache")
      let mount = try scratch.folder("mnt")
      let program = try Checkout.millrace()
      let log = scratch.path("log")
      defer { Mounts.detach(mount) }
      let source = "file://" + scratch.path("src")
      let options = ["--cache-dir", cache]
      try CommandResult.check(
        [
          program, "mount", source, mount, "--log-file", log, "--log-level", "debug", "--prefetch",
          "off",
        ]
          + options)
      let path = "\(mount)/\(name)/\(name)"
      // A process of such a name that reads it, and goes on.
      let reader = try ChildProcess([
        "python3", "-c",
        "import ctypes,sys,time; ctypes.CDLL(None).prctl(15, b'\\x1b[2Jx\\x9b\\r'); "
          + "open(sys.argv[1]).read(); open(sys.argv[2],'w').close(); time.sleep(600)", path,
        scratch.path("ready"),
      ])
      defer { reader.end(SIGKILL) }
      #expect(
        waitFor(within: .seconds(30)) { fileExists(scratch.path("ready")) ? true : nil } == true)
      let list = try scratch.file("list", text: "\(name)/\(name)\n")
      for arguments in [
        ["stats", mount], ["stats", mount, "--json"],
        ["top", mount, "--once", "--interval", "0.2"],
        ["warm", path], ["warm", path + "x"], ["pin", path], ["unpin", path], ["evict", path],
        ["du", path], ["du", path, "--json"], ["refresh", "\(mount)/\(name)"],
        ["update", mount], ["order", mount, list, "--name", "\u{1B}]2;x\u{7}"],
        ["stats", mount], ["snapshot", "create", "v1", source] + options,
        ["snapshot", "list"] + options, ["snapshot", "diff", "v1"] + options,
        ["doctor", source + "/" + name] + options, ["mount", source, path] + options,
        ["unmount", path], ["snapshot", "rm", name] + options, ["mount", "s3://\(name)", mount],
        ["stats", mount + "/\(name)/\u{1B}c"],
      ] {
        // What changed since: a line for it.
        if arguments.starts(with: ["snapshot", "diff"]) || arguments[0] == "update" {
          try scratch.file("src/new\(name)\(arguments[0])", text: "y")
        }
        let result = try CommandResult.run([program] + arguments)
        for text in [result.output, result.errors] {
          let bad = text.unicodeScalars.first {
            $0 != "\n" && ($0.properties.generalCategory == .control || $0.properties.isBidiControl)
          }
          #expect(bad == nil, "\(arguments): \(String(reflecting: text))")
        }
      }
      try CommandResult.check([program, "unmount", mount])
      let text = try readText(log)
      for line in text.split(separator: "\n") {
        #expect(line.first == "2", "a forged line: \(line)")
      }
      #expect(
        !text.unicodeScalars.contains { $0 != "\n" && $0.properties.generalCategory == .control })
    }

    /// The daemon of a user without rights: mounted and unmounted by fusermount3, closed to that user's other programs.
    @Test(.enabled(if: requireOrSkip(.root))) func aDaemonIsClosedToItsUsersOtherPrograms() throws {
      let scratch = try TemporaryFolder("closed")
      try scratch.file("data/a", text: "hello")
      let program = scratch.path("millrace")
      try CommandResult.check(["cp", Checkout.millrace(), program])
      let mount = try scratch.folder("mnt")
      let run = try scratch.folder("run")
      for folder in [mount, run] {
        #expect(chown(folder, 65534, 65534) == 0 && chmod(folder, 0o700) == 0)
      }
      #expect(chmod(scratch.path("."), 0o755) == 0)
      func user(_ command: [String]) throws -> CommandResult {
        try CommandResult.run(
          [
            "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "env",
            "-u", "XDG_RUNTIME_DIR", "HOME=\(run)",
          ] + command)
      }
      var device = stat()
      try #require(stat("/dev/fuse", &device) == 0 && chmod("/dev/fuse", 0o666) == 0)
      var daemon: pid_t = 0
      defer {
        if daemon > 0, !isGone(daemon) { kill(daemon, SIGKILL) }
        Mounts.detach(mount)
        chmod("/dev/fuse", device.st_mode & 0o7777)
        _ = try? CommandResult.run(["rm", "-rf", "/tmp/millrace-65534"])
      }
      for allows in [false, true] {
        let mounted = try user(
          [program, "mount", "file://" + scratch.path("data"), mount]
            + (allows ? ["--core-dumps"] : []))
        #expect(mounted.succeeded, "\(mounted)")
        let stats = MountStats(json: try user([program, "stats", mount, "--json"]).output)
        let pid = pid_t(try stats.number("pid"))
        daemon = pid
        for file in ["environ", "maps", "auxv"] {
          let content = try user(["cat", "/proc/\(pid)/\(file)"])
          #expect(content.succeeded == allows, "\(file): \(content.errors)")
        }
        #expect(try user(["cat", mount + "/a"]).output == "hello")
        // Root's --force ends what is this mount's daemon, though it is another user's: it is stopped, so that it does
        // not end by itself.
        if !allows {
          #expect(try user([program, "unmount", mount]).succeeded)
        } else {
          kill(pid, SIGSTOP)
          let forced = try CommandResult.run(
            [program, "unmount", mount, "--force", "--timeout", "1s"])
          #expect(forced.succeeded, "\(forced)")
          #expect(waitFor(within: .seconds(10)) { isGone(pid) ? true : nil } == true)
        }
        #expect(!Mounts.isMounted(mount))
      }
    }
  }
}

/// Also one that is dead and not waited for: it has no arguments any more.
private func isGone(_ pid: pid_t) -> Bool {
  (try? readText("/proc/\(pid)/cmdline"))?.isEmpty ?? true
}

/// RFC 4648.
enum Base64Text {
  static func encode(_ bytes: [UInt8]) -> String {
    let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    var coded: [UInt8] = []
    for start in stride(from: 0, to: bytes.count, by: 3) {
      let part = bytes[start..<min(start + 3, bytes.count)]
      let word = part.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - part.count))
      for place in 0...part.count { coded.append(letters[word >> (18 - 6 * place) & 63]) }
    }
    return String(decoding: coded, as: UTF8.self)
  }
}

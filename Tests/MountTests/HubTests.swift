import Glibc
import Posix
import TestSupport
import Testing

extension MountTests {
  /// Repositories of the Hugging Face hub, from a hub in small (Tests/Tools/hub.py).
  @Suite struct Hub {
    private struct Served {
      let scratch: TemporaryFolder
      let server: ServerProcess
      let url: String
      /// The content of data/train-0.bin.
      private(set) var train: [UInt8] = []

      init(token: String? = nil, lifetime: Double = 3600, damage: Int = 0) throws {
        scratch = try TemporaryFolder("hub")
        var random = SeededGenerator(seed: 9)
        for (name, size) in [
          ("README.md", 300), ("empty", 0), ("data/train-0.bin", 3_000_000), ("data/t.csv", 900),
          ("data/wörter +%/x.txt", 5_000), ("data/a", 1), ("data/b", 2), ("data/c", 3),
          ("z", 1_000),
        ] {
          let bytes = (0..<size).map { _ in UInt8.random(in: 0...255, using: &random) }
          if size == 3_000_000 { train = bytes }
          try scratch.file("repository/\(name)", bytes)
        }
        let ports = try freePorts(2)
        server = try ServerProcess(
          [
            "python3", Checkout.tools + "/hub.py", "\(ports[0])", "\(ports[1])",
            scratch.path("repository"), "--lifetime", "\(lifetime)", "--damage",
            "\(damage)",
          ] + (token.map { ["--token", $0] } ?? []), port: ports[0], log: scratch.path("log"))
        url = "http://127.0.0.1:\(ports[0])"
      }

      func mount(
        _ source: String = "hf://datasets/owner/name", _ options: [String] = [],
        environment: [String: String] = [:]
      ) throws -> MountedMillrace {
        try MountedMillrace(
          source, cache: scratch.path("cache"), options: options,
          environment: ["HF_ENDPOINT": url, "HOME": scratch.path].merging(environment) { $1 },
          keeping: [server])
      }

      func asked(_ what: String) throws -> Int {
        let text = try CommandResult.check(["curl", "-s", url + "/-/asked"]).output
        return text.split { !$0.isLetter && !$0.isNumber }.map(String.init)
          .enumerated().reduce(0) { sum, word in
            let words = text.split { !$0.isLetter && !$0.isNumber }.map(String.init)
            return word.element == what ? Int(words[word.offset + 1]) ?? -1 : sum
          }
      }
    }

    @Test func aRepositoryIsReadByteForByte() throws {
      let served = try Served()
      let mount = try served.mount()
      try Readers.compare(served.scratch.path("repository"), mount.path, readers: 2)
      // Three ranges or one: where a file lies is asked for once.
      #expect(try served.asked("resolve") <= 10 + mount.stats().sentTwice)
      let source = try CommandResult.check(["findmnt", "-no", "SOURCE", mount.path]).output
      #expect(source.contains("hf://datasets/owner/name"))
      try mount.unmount()
    }

    /// The hub says which SHA-256 an LFS file has: damage is fetched again, and never handed out.
    @Test(arguments: [(1, true), (1_000, false)])
    func aDamagedFileIsNeverHandedOut(damage: Int, recovers: Bool) throws {
      let served = try Served(damage: damage)
      let mount = try served.mount()
      let compared = try CommandResult.run(
        ["cmp", served.scratch.path("repository/z"), mount.path + "/z"])
      #expect(compared.succeeded == recovers, "\(compared)")
      #expect(compared.errors.contains("Input/output error") == !recovers)
      #expect(mount.logText.contains("SHA-256 mismatch") == !recovers)
      #expect(try mount.stats().number("store.checksumMismatches") >= 1)
      try mount.unmount()
    }

    @Test func aFolderOfARevisionIsMountedAlone() throws {
      let served = try Served()
      let mount = try served.mount("hf://datasets/owner/name@main/data")
      let names = try CommandResult.check(["ls", mount.path]).output
      #expect(names.split(separator: "\n").count == 6)
      try CommandResult.check([
        "cmp", served.scratch.path("repository/data/a"), mount.path + "/a",
      ])
      try mount.unmount()
    }

    /// The token is for the hub, and never for where it leads to, which would refuse it.
    @Test(arguments: ["HF_TOKEN", "HF_TOKEN_PATH", "--bearer-token-file", "HF_HOME"])
    func aPrivateRepositoryNeedsItsToken(way: String) throws {
      let served = try Served(token: "hf_secret")
      let refused = #expect(throws: SupportError.self) { try served.mount() }
      #expect(refused?.description.contains("HF_TOKEN") == true, "\(String(describing: refused))")
      let file = try served.scratch.file("home/token", text: "hf_secret\n")
      let mount =
        way == "--bearer-token-file"
        ? try served.mount("hf://datasets/owner/name", [way, file])
        : try served.mount(
          environment: [
            way: way == "HF_TOKEN"
              ? "hf_secret" : way == "HF_HOME" ? served.scratch.path("home") : file
          ])
      try Readers.compare(served.scratch.path("repository"), mount.path)
      #expect(!mount.logText.contains("hf_secret"))
      try mount.unmount()
    }

    /// Each address holds for a third of a second: what was found before is asked for anew.
    @Test func addressesThatRunOutAreAskedForAgain() throws {
      let served = try Served(lifetime: 0.3)
      let mount = try served.mount("hf://datasets/owner/name", ["--cache-dir", "none"])
      let file = open(mount.path + "/data/train-0.bin", O_RDONLY | O_CLOEXEC)
      try #require(file >= 0)
      let expected = served.train
      var buffer = [UInt8](repeating: 0, count: 1000)
      for step in 0..<5 {
        let offset = step * 600_000 + 17
        #expect(pread(file, &buffer, 1000, off_t(offset)) == 1000)
        #expect(buffer.elementsEqual(expected[offset..<offset + 1000]))
        usleep(400_000)
      }
      close(file)
      try mount.unmount()
    }

    @Test(arguments: [
      ("hf://datasets/owner/other", "check owner, name and revision"),
      ("hf://datasets/owner/name@v9", "check owner, name and revision"),
      ("hf://datasets/owner", "hf://datasets/OWNER/NAME"), ("hf://owner/na me", "OWNER/NAME"),
      ("hf://datasets/owner/name/nothing", "nothing"),
    ])
    func whatIsNotThereIsToldAtTheMount(source: String, word: String) throws {
      let served = try Served()
      let refused = #expect(throws: SupportError.self) { try served.mount(source) }
      #expect(refused?.description.contains(word) == true, "\(String(describing: refused))")
    }
  }
}

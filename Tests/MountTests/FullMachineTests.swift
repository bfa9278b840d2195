import Glibc
import LinkServer
import Posix
import TestSupport
import Testing

extension MountTests {
  /// The machine gives no thread, epoll, eventfd, socket or file any more: one request sees an error, and the
  /// mount goes on.
  @Suite(.serialized, .enabled(if: requireOrSkip(.servers))) struct FullMachine {
    private static let files = 200

    /// A mount whose credentials hold for ten seconds, over a store that answers to a name.
    private final class Rig {
      let scarcity: Scarcity
      let scratch: TemporaryFolder
      let server: LinkServer
      let keys: ServerProcess
      let port: UInt16
      let options: [String]
      private var nextFresh = 1

      init() throws {
        scarcity = try Scarcity()
        scratch = try TemporaryFolder("full")
        for index in 0..<FullMachine.files {
          try scratch.file("buckets/data/d/\(index)", text: "\(index) of \(FullMachine.files)")
        }
        try scratch.file("buckets/data/large", seededBytes(3 << 20, seed: 9))
        server = try LinkServer(folder: scratch.path("buckets"), link: .loopback)
        port = try freePorts(1)[0]
        keys = try ServerProcess(
          ["python3", Checkout.tools + "/keys.py", "serve", String(port), "10"], port: port,
          log: scratch.path("keys.log"))
        options = [
          "--endpoint-url", "http://localhost:\(server.port)", "--metadata-ttl", "0",
          "--io-timeout", "20s",
        ]
      }

      deinit {
        keys.stop()
        server.stop()
      }

      func mount(cache: String = "cache") throws -> MountedMillrace {
        let own = [
          "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:\(port)/rotating",
          "HOME": scratch.path,
        ]
        return try MountedMillrace(
          "s3://data", cache: scratch.folder(cache), options: options,
          environment: own.merging(scarcity.environment) { own, _ in own })
      }

      /// All that a mount does while it is mounted. What is cached must be read; of the rest it is returned how
      /// much failed, with an error.
      func useAll(_ mount: MountedMillrace) throws -> Int {
        var failures = 0
        func mayFail(_ body: () throws -> Void) {
          do { try body() } catch { failures += 1 }
        }
        #expect(try readFile(mount.path + "/large") == seededBytes(3 << 20, seed: 9))
        let fresh = nextFresh
        nextFresh += 1
        mayFail {
          let text = try readText(mount.path + "/d/\(fresh % FullMachine.files)")
          #expect(text == "\(fresh % FullMachine.files) of \(FullMachine.files)")
        }
        mayFail { try writeFile(mount.path + "/.millrace/order", Array("d/1\nd/2\n".utf8)) }
        mayFail { try CommandResult.check([Checkout.millrace(), "du", mount.path]) }
        return failures
      }

      /// Until all of it works, as it must soon.
      func expectRecovery(_ mount: MountedMillrace) {
        scarcity.relent()
        let isWell = waitFor(within: .seconds(30)) { () -> Bool? in
          (try? useAll(mount)) == 0 ? true : nil
        }
        #expect(isWell == true, "\(mount.logText)")
      }
    }

    @Test
    func anyOneThreadOrDescriptorThatCannotBeHadFailsOneRequestAtMost() throws {
      let rig = try Rig()
      let mount = try rig.mount()
      rig.expectRecovery(mount)
      for kind in Scarcity.Kind.allCases {
        var count = 0
        // Each n until a round of all uses needs no n-th call.
        while count < 60 {
          rig.scarcity.refuseOne(kind, after: count)
          let failures = try rig.useAll(mount)
          guard rig.scarcity.hasRefused(kind) else { break }
          #expect(failures <= 2, "\(kind) \(count): \(mount.logText)")
          count += 1
        }
        print("\(kind): \(count) calls refused one by one")
        rig.expectRecovery(mount)
        #expect(mount.isMounted)
      }
      try mount.unmount()
    }

    @Test
    func aMountAnswersFromItsCacheWhileThereIsNothingLeftAndUnmounts() throws {
      let rig = try Rig()
      let mount = try rig.mount()
      rig.expectRecovery(mount)
      let threads = rig.scarcity.seen(.threads)
      rig.scarcity.refuseAll([.threads, .epolls, .eventDescriptors])
      // Longer than the credentials hold: they are renewed meanwhile, by what is there.
      let end = Instant.now + .seconds(12)
      while Instant.now < end {
        #expect(try readFile(mount.path + "/large") == seededBytes(3 << 20, seed: 9))
        _ = try rig.useAll(mount)
        usleep(200_000)
      }
      #expect(mount.isMounted)
      rig.expectRecovery(mount)
      print("threads wanted meanwhile: \(rig.scarcity.seen(.threads) - threads)")
      rig.scarcity.refuseAll([.threads, .epolls, .eventDescriptors])
      try mount.unmount()
    }

    /// A real limit, as a container has it: pids.max of the cgroup, where this machine lets a test set it.
    @Test
    func aMountAtTheLimitOfItsCgroupGoesOnAndUnmounts() throws {
      let group = "/sys/fs/cgroup/pids/millrace-test-\(getpid())"
      guard getuid() == 0, mkdir(group, 0o755) == 0, fileExists(group + "/pids.max") else {
        print("SKIPPED: no cgroup of version 1 for pids")
        return
      }
      let rig = try Rig()
      let mount = try rig.mount()
      defer {
        _ = waitFor(within: .seconds(20)) { rmdir(group) == 0 ? true : nil }
      }
      rig.expectRecovery(mount)
      try setSmallFile(group + "/cgroup.procs", "\(mount.pid)")
      let count = try readText(group + "/pids.current").filter(\.isNumber)
      try setSmallFile(group + "/pids.max", count)
      for _ in 0..<5 { #expect(try rig.useAll(mount) <= 1, "\(mount.logText)") }
      try setSmallFile(group + "/pids.max", "max")
      rig.expectRecovery(mount)
      try setSmallFile(group + "/pids.max", count)
      try mount.unmount()
    }

    /// Many files open at once take the cache's share of the descriptors, and not those of connections.
    @Test
    func whoOpensManyFilesRunsOutOfCachedOpensAndNotOfConnections() throws {
      let rig = try Rig()
      let mount = try rig.mount()
      rig.expectRecovery(mount)
      try CommandResult.check(["prlimit", "--pid", "\(mount.pid)", "--nofile=320:320"])
      var open: [CInt] = []
      defer { for file in open { close(file) } }
      for index in 0..<FullMachine.files {
        let file = Glibc.open(mount.path + "/d/\(index)", O_RDONLY | O_CLOEXEC)
        #expect(file >= 0, "\(index): errno \(errno) \(mount.logText)")
        open.append(file)
        var byte: UInt8 = 0
        #expect(read(file, &byte, 1) == 1, "\(index): \(mount.logText)")
      }
      #expect(try rig.useAll(mount) == 0, "\(mount.logText)")
      for file in open { close(file) }
      open = []
      rig.expectRecovery(mount)
      try mount.unmount()
    }

    private func setSmallFile(_ path: String, _ text: String) throws {
      let file = open(path, O_WRONLY | O_CLOEXEC)
      defer { close(file) }
      let bytes = Array(text.utf8)
      guard write(file, bytes, bytes.count) == bytes.count else {
        throw SupportError("cannot write \(path): errno \(errno)")
      }
    }

    @Test
    func aMountThatGetsNoThreadOrDescriptorSaysSoOrMounts() throws {
      let rig = try Rig()
      for kind in [Scarcity.Kind.threads, .epolls, .eventDescriptors] {
        var count = 0
        var aborts = 0
        while count < 60 {
          rig.scarcity.relent()
          rig.scarcity.refuseOne(kind, after: count)
          var isRefused = false
          do {
            let mount = try rig.mount()
            isRefused = rig.scarcity.hasRefused(kind)
            rig.expectRecovery(mount)
            try mount.unmount()
          } catch {
            isRefused = rig.scarcity.hasRefused(kind)
            let said = "\(error)"
            #expect(isRefused, "\(said)")
            // libdispatch and SwiftNIO end the process for an epoll or eventfd of their own: before anything is
            // mounted, and once each.
            let isTheirs = said.contains("libdispatch") || said.contains("SelectableEventLoop")
            if isTheirs, kind != .threads {
              aborts += 1
            } else {
              #expect(said.contains("raise the limit of"), "\(kind) \(count): \(said)")
            }
          }
          guard isRefused else { break }
          count += 1
        }
        print("\(kind): \(count) calls refused at the mount")
        #expect(count < 60 && aborts <= 2, "\(kind)")
      }
    }
  }
}

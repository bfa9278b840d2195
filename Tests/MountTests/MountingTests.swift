import Glibc
import Posix
import TestSupport
import Testing

extension MountTests {
  /// The ways in and out of a mount, and what a mount refuses.
  @Suite struct Mounting {
    private func small() throws -> Served {
      try Backend.folder.serve { scratch in
        try scratch.file("tree/a/b.txt", text: "hello")
        return scratch.path("tree")
      }
    }

    @Test func unmountingByFusermountEndsTheDaemon() throws {
      let mount = try small().mount()
      try CommandResult.check(["fusermount3", "-u", mount.path])
      try mount.expectCleanEnd()
    }

    @Test(.enabled(if: requireOrSkip(.root)))
    func unmountingByUmountEndsTheDaemon() throws {
      let mount = try small().mount()
      try CommandResult.check(["umount", mount.path])
      try mount.expectCleanEnd()
    }

    @Test(arguments: [SIGTERM, SIGINT])
    func aSignalUnmounts(_ number: CInt) throws {
      let mount = try small().mount()
      #expect(try readText(mount.path + "/a/b.txt") == "hello")
      mount.signal(number)
      try mount.expectCleanEnd()
    }

    @Test func aDeadMountIsReplacedByTheNext() throws {
      let served = try small()
      let place = try served.scratch.folder("place")
      let cache = try served.scratch.folder("cache")
      let first = try MountedMillrace(served.source, cache: cache, at: place)
      // The kernel remembers the attributes of the root, and would tell them of a dead mount too.
      _ = try namesIn(place)
      first.kill9()
      let second = try MountedMillrace(served.source, cache: cache, at: place)
      let read = waitFor(within: .seconds(10)) { try? readText(place + "/a/b.txt") }
      #expect(read == "hello")
      try second.unmount()
    }

    @Test func mountReturnsWhenTheMountIsUsableAndUnmountWhenTheDaemonEnded() throws {
      let served = try small()
      let place = try served.scratch.folder("place")
      let program = try Checkout.millrace()
      let cache = try served.scratch.folder("cache")
      defer { Mounts.detach(place) }
      try CommandResult.check([program, "mount", served.source, place, "--cache-dir", cache])
      #expect(try readText(place + "/a/b.txt") == "hello")
      try CommandResult.check([program, "unmount", place])
      #expect(!Mounts.isMounted(place))
      #expect(try daemons(of: place).isEmpty)
    }

    @Test func runMountsRunsUnmountsAndExitsWithTheCommandsCode() throws {
      let served = try small()
      let place = try served.scratch.folder("place")
      let program = try Checkout.millrace()
      let cache = try served.scratch.folder("cache")
      let result = try CommandResult.run([
        program, "run", served.source, place, "--cache-dir", cache, "--", "sh", "-c",
        "cat \(place)/a/b.txt; exit 7",
      ])
      #expect(result.output == "hello")
      #expect(result.status == .exited(7))
      #expect(!Mounts.isMounted(place))
      #expect(try daemons(of: place).isEmpty)
    }

    @Test func whateverWouldWriteIsRefusedAsReadOnly() throws {
      let mount = try small().mount()
      let attempts: [(String, () -> CInt)] = [
        ("open for writing", { open(mount.path + "/a/b.txt", O_WRONLY | O_CLOEXEC) }),
        ("create", { open(mount.path + "/new", O_CREAT | O_WRONLY | O_CLOEXEC, 0o644) }),
        ("truncate", { truncate(mount.path + "/a/b.txt", 0) }),
        ("mkdir", { mkdir(mount.path + "/d", 0o755) }),
        ("unlink", { unlink(mount.path + "/a/b.txt") }),
        ("rmdir", { rmdir(mount.path + "/a") }),
        ("rename", { rename(mount.path + "/a", mount.path + "/c") }),
        ("symlink", { symlink("x", mount.path + "/l") }),
        ("link", { link(mount.path + "/a/b.txt", mount.path + "/l") }),
        ("chmod", { chmod(mount.path + "/a/b.txt", 0o600) }),
      ]
      for (name, attempt) in attempts {
        errno = 0
        let result = attempt()
        #expect(result == -1 && errno == EROFS, "\(name): \(result), errno \(errno)")
        if result >= 0 && name.hasPrefix("open") { close(result) }
      }
      #expect(try readText(mount.path + "/a/b.txt") == "hello")
      try mount.unmount()
    }

    /// The pids of programs that have this mount point on their command line.
    private func daemons(of place: String) throws -> [String] {
      try namesIn("/proc").map { String(decoding: $0, as: UTF8.self) }.filter { name in
        guard name.allSatisfy(\.isNumber), let line = try? readText("/proc/\(name)/cmdline") else {
          return false
        }
        return line.contains(place) && line.contains("millrace")
      }
    }
  }
}

import Glibc
import LinkServer
import Posix
import TestSupport
import Testing

extension MountTests {
  /// Orders under readers that leave lines out, beyond their memory, and under other users.
  @Suite struct Orders {
    private func read(_ mount: MountedMillrace, _ index: Int) throws {
      #expect(try readFile("\(mount.path)/d/\(1000 + index).bin").count == PrefetchRig.size)
    }

    /// The window of an order whose lines are read in part was full for good: 14 of 60 lines were fetched.
    @Test func anOrderOfWhichEachFourthLineIsReadIsFollowedToItsEnd() throws {
      let rig = try PrefetchRig(["--prefetch", "off", "--prefetch-window", "400K"])
      defer { rig.server.stop() }
      let text = (0..<PrefetchRig.files).map { "d/\(1000 + $0).bin\n" }.joined()
      try writeFile(rig.mount.path + "/.millrace/order", Array(text.utf8))
      for index in stride(from: 0, to: PrefetchRig.files, by: 4) { try read(rig.mount, index) }
      let isThrough = waitFor(within: .seconds(20)) { () -> Bool? in
        (try? rig.mount.stats().number("ahead")) ?? 0 == PrefetchRig.files ? true : nil
      }
      #expect(isThrough == true, "\((try? rig.mount.stats().json) ?? "")")
      // What is fetched in vain: no more than was read, and a window.
      #expect(try rig.mount.stats().number("unusedBytes") <= 75 * PrefetchRig.size + 400_000)
      try rig.mount.unmount()
    }

    @Test func ordersHaveABudgetThatStatsShow() throws {
      let rig = try PrefetchRig(["--prefetch", "off", "--metadata-limit", "1M"])
      defer { rig.server.stop() }
      let folder = rig.mount.path + "/.millrace"
      let small = (0..<100).map { "d/\(1000 + $0).bin\n" }.joined()
      try writeFile(folder + "/order.small", Array(small.utf8))
      let shown = waitFor(within: .seconds(20)) { () -> Int? in
        (try? rig.mount.stats().number("orderMemory")).flatMap { $0 > 0 ? $0 : nil }
      }
      #expect(try #require(shown) > small.utf8.count)
      // Its text has room while it is written, its tables have none. By a program of its own: one that another test
      // starts meanwhile would inherit the descriptor.
      let closing = try CommandResult.check([
        "/usr/bin/python3", "-c",
        """
        import errno, os, sys
        file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o600)
        text = b"".join(b"d/%d.bin\\n" % (10000 + n) for n in range(20000))
        assert os.write(file, text) == len(text)
        try: os.close(file)
        except OSError as error: print(errno.errorcode[error.errno])
        """, folder + "/order.large",
      ])
      #expect(closing.output == "ENOSPC\n")
      #expect(access(folder + "/order.large", F_OK) == -1 && errno == ENOENT)
      #expect(unlink(folder + "/order.small") == 0)
      #expect(access(folder + "/order.small", F_OK) == -1 && errno == ENOENT)
      try rig.mount.unmount()
    }

    @Test(.enabled(if: requireOrSkip(.root)))
    func anotherUserCanNeitherWriteOrdersNorUseUpTheirNames()
      throws
    {
      let scratch = try TemporaryFolder("order-user")
      try scratch.file("data/a", text: "a")
      #expect(chmod(scratch.path("."), 0o755) == 0)
      let mount = try MountedMillrace(
        "file://" + scratch.path("data"), cache: scratch.folder("cache"),
        at: scratch.folder("mnt"),
        options: ["--allow-other", "--prefetch", "off"])
      let folder = mount.path + "/.millrace"
      func asOther(_ script: String) throws -> CommandResult {
        try CommandResult.run(
          [
            "setpriv", "--reuid", "65533", "--regid", "65533", "--clear-groups", "bash", "-c",
            script,
          ], within: .seconds(120))
      }
      // It sees the folder, and may do nothing in it.
      let looks = try asOther("ls \(folder)")
      #expect(looks.succeeded && looks.output.contains("order"), "\(looks)")
      for name in ["order", "order.mine"] {
        let said = try asOther("echo a > \(folder)/\(name)")
        #expect(!said.succeeded && said.errors.contains("Permission denied"), "\(said)")
      }
      #expect(try !asOther("rm -f \(folder)/order").succeeded)
      let stats = try asOther(
        "for i in {1..20000}; do [ -e \(folder)/order.$i ] && echo there; done; echo done")
      #expect(stats.output == "done\n", "\(stats)")
      for name in ["order", "order.new"] {
        try writeFile(folder + "/" + name, Array("a\n".utf8))
        #expect(access(folder + "/" + name, F_OK) == 0)
      }
      #expect(try mount.stats().number("orders") == 2)
      try mount.unmount()
    }
  }
}

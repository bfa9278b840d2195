import Glibc
import LinkServer
import Posix
import TestSupport
import Testing

extension MountTests {
  /// What one opener's end does to the others, and what the kernel remembers of names that were not there.
  @Suite struct Openers {
    private func mount(
      _ scratch: TemporaryFolder, _ server: LinkServer, ttl: String
    ) throws -> MountedMillrace {
      try MountedMillrace(
        "s3://data", cache: scratch.folder("cache"),
        options: [
          "--endpoint-url", "http://127.0.0.1:\(server.port)", "--no-sign-request",
          "--metadata-ttl", ttl,
        ])
    }

    @Test(.enabled(if: requireOrSkip(.passthrough)))
    func anOpenerThatIsKilledTakesNothingFromTheOthers() throws {
      let scratch = try TemporaryFolder("openers")
      let bytes = seededBytes(1 << 20, seed: 4)
      try scratch.file("buckets/data/f", bytes)
      let server = try LinkServer(folder: scratch.path("buckets"), link: .loopback)
      defer { server.stop() }
      let mount = try mount(scratch, server, ttl: "0")
      // Opened before it is on disk: this inode is read through the daemon for as long as it is open.
      let first = open(mount.path + "/f", O_RDONLY | O_CLOEXEC)
      defer { close(first) }
      try #require(first >= 0)
      // By way of /proc there is no lookup, so that it is the open that waits.
      let plan = FaultPlan { $0.isListing || $0.method == "HEAD" ? .late(seconds: 2) : nil }
      server.setFaults(plan)
      let killed = try ChildProcess(["cat", "/proc/\(getpid())/fd/\(first)"])
      #expect(waitFor(within: .seconds(20)) { plan.injected > 0 ? true : nil } == true)
      killed.signal(SIGKILL)
      #expect(killed.wait(within: .seconds(20)) != nil)
      server.setFaults(nil)
      // Its answer comes when it is gone.
      let isOver = waitFor(within: .seconds(20)) { () -> Bool? in
        (try? mount.stats()["store.inFlight"]) == 0 ? true : nil
      }
      #expect(isOver == true)
      var seen = [UInt8](repeating: 0, count: bytes.count)
      #expect(pread(first, &seen, seen.count, 0) == seen.count && seen == bytes)
      let isKept = waitFor(within: .seconds(20)) { () -> Bool? in
        ((try? mount.stats()["cache.diskBytes"]) ?? 0) >= bytes.count ? true : nil
      }
      #expect(isKept == true)
      for _ in 0..<5 { #expect(try readFile(mount.path + "/f") == bytes) }
      #expect(pread(first, &seen, seen.count, 0) == seen.count && seen == bytes)
      close(first)
      #expect(try readFile(mount.path + "/f") == bytes)
      try mount.unmount()
    }

    /// Through the server, which keeps its own list of names.
    private func put(_ key: String, _ text: String, _ server: LinkServer) throws {
      try CommandResult.check([
        "curl", "-sSf", "-X", "PUT", "--data-binary", text,
        "http://127.0.0.1:\(server.port)/data/\(key)",
      ])
    }

    @Test func anAbsenceDoesNotOutliveARefreshOrAnUpdate() throws {
      let scratch = try TemporaryFolder("absent")
      try scratch.file("buckets/data/d/old", text: "old")
      let server = try LinkServer(folder: scratch.path("buckets"), link: .loopback)
      defer { server.stop() }
      let mount = try mount(scratch, server, ttl: "300s")
      let commands: [(command: String, path: String)] = [
        ("refresh", ""), ("refresh", "/d"), ("refresh", "/d/3"), ("update", ""), ("update", "/d"),
      ]
      for (index, (command, path)) in commands.enumerated() {
        let name = mount.path + "/d/\(index + 1)"
        for _ in 0..<2 { #expect(!fileExists(name)) }
        try put("d/\(index + 1)", "new \(index)", server)
        #expect(!fileExists(name))
        try CommandResult.check([Checkout.millrace(), command, mount.path + path])
        #expect(try readText(name) == "new \(index)", "\(command) \(path)")
      }
      #expect(try readText(mount.path + "/d/old") == "old")
      try mount.unmount()
    }

    @Test func aJobThatPollsForASuccessFileSeesItAfterARefresh() throws {
      let scratch = try TemporaryFolder("polled")
      try scratch.file("buckets/data/d/old", text: "old")
      let server = try LinkServer(folder: scratch.path("buckets"), link: .loopback)
      defer { server.stop() }
      let mount = try mount(scratch, server, ttl: "300s")
      let polled = Monitor((looks: 0, isSeen: false, isOver: false))
      let job = Posix.Thread(named: "poll") {
        while !polled.withLock({ $0.isOver }) {
          let isThere = fileExists(mount.path + "/d/_SUCCESS")
          polled.signal(all: true) { state in
            state.looks += 1
            state.isSeen = isThere
          }
          if isThere { return }
          usleep(2000)
        }
      }
      #expect(polled.wait(until: .now + .seconds(20)) { $0.looks > 50 ? true : nil } == true)
      try put("d/_SUCCESS", "done", server)
      try CommandResult.check([Checkout.millrace(), "refresh", mount.path + "/d"])
      #expect(polled.wait(until: .now + .seconds(20)) { $0.isSeen ? true : nil } == true)
      polled.withLock { $0.isOver = true }
      job.join()
      try mount.unmount()
    }
  }
}

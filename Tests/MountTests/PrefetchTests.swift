import Glibc
import LinkServer
import Posix
import TestSupport
import Testing

extension MountTests {
  /// What is fetched before it is asked for: the rest of a walked folder, an order of an epoch.
  @Suite struct Prefetching {
    private static let files = PrefetchRig.files

    private func mount(_ options: [String]) throws -> PrefetchRig { try PrefetchRig(options) }

    private func read(_ mount: MountedMillrace, _ index: Int) throws {
      let bytes = try readFile("\(mount.path)/d/\(1000 + index).bin")
      #expect(bytes.count == 20_000 && bytes.allSatisfy { $0 == UInt8(truncatingIfNeeded: index) })
    }

    private func filled(_ mount: MountedMillrace, atLeast count: Int) throws -> Int {
      var seen = 0
      _ = waitFor(within: .seconds(20)) { () -> Bool? in
        seen = (try? mount.stats().number("backgroundFiles")) ?? 0
        return seen >= count ? true : nil
      }
      return seen
    }

    @Test func theRestOfAWalkedFolderIsFetchedAndReadRight() throws {
      let rig = try self.mount([])
      defer { rig.server.stop() }
      let mount = rig.mount
      for index in stride(from: 0, to: 300, by: 10) { try read(mount, index) }
      #expect(try filled(mount, atLeast: 265) >= 265)
      for index in 0..<Self.files { try read(mount, index) }
      #expect(try rig.gets().lowerBound <= Self.files + 5)
      try mount.unmount()
    }

    @Test func aLargeObjectBesideTheWalkedFilesIsLeftAlone() throws {
      let rig = try self.mount([])
      defer { rig.server.stop() }
      rig.server.addSynthetic(bucket: "data", key: "d/0-archive.tar", size: 64 << 20)
      rig.server.addSynthetic(bucket: "data", key: "checkpoint.bin", size: 1 << 30)
      let mount = rig.mount
      for index in stride(from: 0, to: 300, by: 10) { try read(mount, index) }
      #expect(try filled(mount, atLeast: 270) >= 270)
      // A file that was sent twice is no more than one of these.
      let twice = try mount.stats().sentTwice * PrefetchRig.size
      #expect(rig.server.bytesSent <= Self.files * PrefetchRig.size + 200_000 + twice)
      try mount.unmount()
    }

    @Test func tenFilesOfAFolderStartNothing() throws {
      let rig = try self.mount([])
      defer { rig.server.stop() }
      let mount = rig.mount
      for _ in 0..<3 { for index in 0..<10 { try read(mount, index) } }
      usleep(500_000)
      #expect(try mount.stats().number("backgroundFiles") == 0)
      try mount.unmount()
    }

    @Test func fillStaysWithinTheMultipleOfWhatWasAskedFor() throws {
      let rig = try self.mount(["--prefetch-budget", "2"])
      defer { rig.server.stop() }
      let mount = rig.mount
      for index in 0..<20 { try read(mount, index) }
      _ = try filled(mount, atLeast: 30)
      usleep(500_000)
      let stats = try mount.stats()
      #expect(try (30...40).contains(stats.number("backgroundFiles")))
      #expect(try stats.number("backgroundBytes") <= 2 * 20 * 20_000)
      try mount.unmount()
    }

    @Test func fillCanBeTurnedOffAndMadeToTakeAll() throws {
      let rig = try self.mount(["--prefetch", "off"])
      defer { rig.server.stop() }
      let off = rig.mount
      for index in 0..<40 { try read(off, index) }
      usleep(300_000)
      #expect(try off.stats().number("backgroundFiles") == 0)
      try off.unmount()
      let second = try self.mount(["--prefetch", "all"])
      defer { second.server.stop() }
      let always = second.mount
      #expect(try filled(always, atLeast: Self.files) == Self.files)
      try always.unmount()
    }

    @Test func anOrderIsFetchedAheadAndItsFileShowsNowhere() throws {
      let rig = try self.mount(["--prefetch", "off", "--prefetch-window", "1M"])
      defer { rig.server.stop() }
      let mount = rig.mount
      let order = (0..<Self.files).map { ($0 * 7) % Self.files }
      let text = order.map { "d/\(1000 + $0).bin\n" }.joined()
      try writeFile(mount.path + "/.millrace/order", Array(text.utf8))
      let ahead = waitFor(within: .seconds(20)) { () -> Bool? in
        (try? mount.stats().number("orderedFiles")) ?? 0 >= 52 ? true : nil
      }
      #expect(ahead == true)
      usleep(300_000)
      // 1 MiB of files of 20,000 bytes, and no more before the first is opened.
      #expect(try mount.stats().number("orderedFiles") == 52)
      for index in order { try read(mount, index) }
      let stats = try mount.stats()
      #expect(try stats.number("orderedFiles") > 200)
      #expect(try rig.gets().lowerBound <= Self.files)
      #expect(try !namesIn(mount.path).contains(Array(".millrace".utf8)))
      #expect(try namesIn(mount.path + "/.millrace").contains(Array("order".utf8)))
      // Nothing else can be written.
      #expect(open(mount.path + "/.millrace/other", O_WRONLY | O_CREAT, 0o600) == -1)
      #expect(open(mount.path + "/x", O_WRONLY | O_CREAT, 0o600) == -1 && errno == EROFS)
      try mount.unmount()
    }

    @Test func anOrderThatIsTooLargeIsRefusedAndTheLastOneStays() throws {
      let rig = try self.mount(["--prefetch", "off"])
      defer { rig.server.stop() }
      let order = rig.mount.path + "/.millrace/order"
      try writeFile(order, Array("d/1000.bin\n".utf8))
      let file = open(order, O_WRONLY | O_CLOEXEC | O_TRUNC)
      #expect(write(file, "d/1001.bin\n", 11) == 11)
      #expect(pwrite(file, "d/1002.bin\n", 11, 512 << 20) == -1 && errno == EFBIG)
      #expect(close(file) == -1 && errno == EFBIG)
      let stats = try rig.mount.stats()
      #expect(try stats.number("orders") == 1)
      #expect(stats.json.contains(#""files" : 1"#))
      try rig.mount.unmount()
    }

    @Test func theCommandGivesAnOrderANameAndSaysHowManyFilesItHas() throws {
      let rig = try self.mount(["--prefetch", "off"])
      defer { rig.server.stop() }
      let mount = rig.mount
      let list = try rig.scratch.file("list", Array("d/1000.bin\nd/1001.bin\nnone\n".utf8))
      let said = try CommandResult.run(
        [Checkout.millrace(), "order", mount.path, list, "--name", "rank0"])
      #expect(said.succeeded && said.output.contains("3 files"), "\(said)")
      let fetched = waitFor(within: .seconds(20)) { () -> Bool? in
        (try? mount.stats().number("orderedFiles")) ?? 0 == 2 ? true : nil
      }
      #expect(fetched == true)
      #expect(try mount.stats().number("orderPathsNotFound") == 1)
      #expect(try namesIn(mount.path + "/.millrace").contains(Array("order.rank0".utf8)))
      #expect(unlink(mount.path + "/.millrace/order.rank0") == 0)
      try mount.unmount()
    }
  }
}

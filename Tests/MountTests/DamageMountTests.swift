import Glibc
import LinkServer
import Posix
import TestSupport
import Testing

extension MountTests {
  /// One byte of one answer is wrong, seen from outside: what no layer may lose on the way to a reader.
  @Suite(.serialized) struct Damage {
    @Test("a manifest's objects under other keys are verified, by read and by mmap, and kept right")
    func objectsOfAManifestAreVerified() throws {
      let scratch = try TemporaryFolder("damage")
      var lines = ""
      for size in [1_000, 100_000, 900_000] {
        let bytes = seededBytes(size, seed: UInt64(size))
        try scratch.file("source/file-\(size)", bytes)
        try scratch.file("buckets/data/real/\(size)", bytes)
        lines += "{\"path\":\"file-\(size)\",\"size\":\(size),\"key\":\"real/\(size)\"}\n"
      }
      let manifest = try scratch.file("list.jsonl", text: lines)
      let server = try LinkServer(
        folder: scratch.path("buckets"), link: .loopback, keepsChecksums: true)
      defer { server.stop() }
      for mode in [Readers.Mode.read, .mmap] {
        let plan = FaultPlan { $0.method == "GET" && $0.number == 0 ? .flippedBit : nil }
        server.setFaults(plan)
        for _ in 0..<2 {
          let mount = try MountedMillrace(
            "s3://data", cache: scratch.path("cache-\(mode.rawValue)"),
            options: [
              "--endpoint-url", "http://127.0.0.1:\(server.port)", "--no-sign-request",
              "--manifest", manifest,
            ])
          try Readers.compare(scratch.path("source"), mount.path, mode: mode)
          try mount.unmount()
        }
        #expect(plan.injected == 3)
      }
    }

    @Test("a single 404 of a proxy is seen by no reader")
    func aPassing404IsNotSeen() throws {
      let rig = try FaultRig(ioTimeout: 20)
      let plan = FaultPlan {
        $0.method == "GET" && !$0.isListing && $0.number == 0
          ? .status(404, code: "NoSuchKey") : nil
      }
      rig.server.setFaults(plan)
      for name in ["small", "large"] { #expect(rig.isRight(name), "\(name)") }
      #expect(plan.injected >= 2)
      #expect(rig.rests())
      try rig.end()
    }

    @Test(
      "an object that is deleted and put again is read by the next open, while another has it open")
    func anObjectThatIsBackIsRead() throws {
      let rig = try FaultRig(ioTimeout: 20)
      let held = open(rig.mount.path + "/large", O_RDONLY | O_CLOEXEC)
      #expect(held >= 0)
      var buffer = [UInt8](repeating: 0, count: 4096)
      #expect(pread(held, &buffer, buffer.count, 0) == buffer.count)
      rig.server.setFaults(
        FaultPlan { $0.key == "large" ? .status(404, code: "NoSuchKey") : nil })
      #expect(pread(held, &buffer, buffer.count, 11 << 20) == -1)
      #expect(Glibc.errno == ESTALE)
      rig.server.setFaults(nil)
      let isRight = waitFor(within: .seconds(20)) { rig.isRight("large") ? true : nil }
      #expect(isRight == true)
      close(held)
      #expect(rig.rests())
      try rig.end()
    }
  }
}

import CFuseShim
import FileSystem
import Glibc
import Metrics
import ObjectStore
import Posix
import Testing

@testable import FuseFrontEnd

@Suite("Requests that wait", .serialized, .enabled(if: canMount, "no /dev/fuse here"))
struct WaitingTests {
  @Test(.timeLimit(.minutes(10))) func readsThatWaitForTheStoreHoldNoThread() throws {
    let count = 16
    var files: [String: [UInt8]] = ["other": [1]]
    for index in 0..<count { files["f\(index)"] = randomBytes(3000, seed: UInt64(index)) }
    let mount = try MountFixture(files: files)
    defer { mount.close() }
    mount.store.close()
    let readers = (0..<count).map { index in
      spawn("cmp", mount.source + "/f\(index)", mount.mountPoint + "/f\(index)")
    }
    // As many as the store takes at once; the other reads wait in the engine.
    #expect(mount.store.waitForHeld(mount.store.traits.maxConcurrentFetches))
    // Two loop threads, sixteen reads parked: names are answered all the same.
    var status = stat()
    #expect(stat(mount.mountPoint + "/other", &status) == 0)
    #expect(try names(in: mount.mountPoint).count == count + 3)
    mount.store.open()
    for reader in readers { #expect(exitCode(of: reader) == 0) }
    #expect(mount.metrics.fuse.droppedRequests.count == 0)
  }

  @Test(.timeLimit(.minutes(10))) func aReaderThatIsKilledWhileItWaitsLeavesNothingOpen() throws {
    let mount = try MountFixture(files: ["file": randomBytes(3000, seed: 1)])
    defer { mount.close() }
    mount.store.close()
    let reader = spawn("cat", mount.mountPoint + "/file")
    #expect(mount.store.waitForHeld(1))
    kill(reader, SIGKILL)
    mount.store.open()
    _ = exitCode(of: reader)
    #expect(run("cmp", mount.source + "/file", mount.mountPoint + "/file") == 0)
    #expect(run("fusermount3", "-u", mount.mountPoint) == 0)
    #expect(mount.waitForEnd())
    #expect(mount.front.session.data.handles.count == 0)
  }

  /// The store never answers: only the kill ends the wait. `dd` reads by itself, `cat` by the kernel's
  /// read-ahead.
  @Test(.timeLimit(.minutes(10))) func aReaderThatIsKilledIsGoneThoughTheStoreIsSilent() throws {
    let mount = try MountFixture(files: ["file": randomBytes(3000, seed: 1)])
    defer { mount.close() }
    mount.store.close()
    let readers = [
      spawn("cat", mount.mountPoint + "/file"),
      spawn("dd", "if=" + mount.mountPoint + "/file", "of=/dev/null", "iflag=direct"),
    ]
    #expect(mount.store.waitForHeld(1))
    usleep(200_000)
    for reader in readers { kill(reader, SIGKILL) }
    for reader in readers { #expect(exitCode(of: reader) != 0) }
    mount.store.open()
    #expect(run("cmp", mount.source + "/file", mount.mountPoint + "/file") == 0)
  }

  @Test(.timeLimit(.minutes(10))) func unmountDoesNotWaitForAReadThatDoes() throws {
    let mount = try MountFixture(files: ["file": randomBytes(3000, seed: 1)])
    defer { mount.close() }
    mount.store.close()
    let reader = spawn("cat", mount.mountPoint + "/file")
    #expect(mount.store.waitForHeld(1))
    mount.front.unmount(grace: .zero)
    #expect(mount.waitForEnd())
    #expect(exitCode(of: reader) != 0)
    #expect(mount.front.session.data.handles.count == 0)
    // The bytes come, and their reply goes nowhere.
    mount.store.open()
  }

  @Test(.timeLimit(.minutes(10))) func whatIsInvalidatedIsAskedForAgain() throws {
    let mount = try MountFixture(files: ["file": [1]])
    defer { mount.close() }
    var status = stat()
    #expect(stat(mount.mountPoint + "/file", &status) == 0)
    let before = mount.metrics.fuse.lookups.count
    #expect(stat(mount.mountPoint + "/file", &status) == 0)
    #expect(mount.metrics.fuse.lookups.count == before)
    let notifier = mount.front.notifier
    #expect(notifier.deliver(.entry(parent: FileSystem.root, name: Array("file".utf8))))
    #expect(notifier.deliver(.node(FileSystem.root)))
    #expect(stat(mount.mountPoint + "/file", &status) == 0)
    #expect(mount.metrics.fuse.lookups.count == before + 1)
    // Kernels before 6.16 cannot, and say so.
    if notifier.deliver(.everything) {
      #expect(stat(mount.mountPoint + "/file", &status) == 0)
      #expect(mount.metrics.fuse.lookups.count == before + 2)
    }
  }

  @Test(.timeLimit(.minutes(10))) func manyReadersAtOnceGetTheirOwnBytes() throws {
    var files: [String: [UInt8]] = [:]
    for index in 0..<8 { files["f\(index)"] = randomBytes(700_001, seed: UInt64(index)) }
    let mount = try MountFixture(files: files)
    defer { mount.close() }
    let readers = (0..<16).map { index in
      spawn("cmp", mount.source + "/f\(index % 8)", mount.mountPoint + "/f\(index % 8)")
    }
    for reader in readers { #expect(exitCode(of: reader) == 0) }
    #expect(run("fusermount3", "-u", mount.mountPoint) == 0)
    #expect(mount.waitForEnd())
    #expect(mount.front.session.data.handles.count == 0)
  }
}

import CFuseShim
import FileSystem
import Glibc
import Metrics
import Posix
import TestSupport
import Testing

@testable import FuseFrontEnd

@Suite("Ends of a mount", .serialized, .enabled(if: canMount, "no /dev/fuse here"))
struct UnmountTests {
  @Test(.timeLimit(.minutes(10)), arguments: ["fusermount3 -u", "umount"])
  func runReturnsWhenSomebodyElseUnmounts(with command: String) throws {
    if command == "umount" && getuid() != 0 { return }
    let mount = try MountFixture(files: ["file": [1]])
    defer { mount.close() }
    #expect(run("cat", mount.mountPoint + "/file") == 0)
    #expect(run("sh", "-c", "\(command) \(mount.mountPoint)") == 0)
    #expect(mount.waitForEnd())
    #expect(!mount.isMounted)
  }

  /// The directory above a mount point is replaced by a link between the checks and the mount.
  @Test func rootMountsOnNoDirectoryThatALinkLeadsTo() throws {
    guard geteuid() == 0 else { return }
    let scratch = try TemporaryFolder("replaced")
    for folder in ["theirs/mnt", "victim/mnt"] { try scratch.folder(folder) }
    let place = scratch.path("theirs/mnt")
    #expect(try Mountpoint.hold(place) != nil)
    #expect(rename(scratch.path("theirs"), scratch.path("moved")) == 0)
    #expect(symlink(scratch.path("victim"), scratch.path("theirs")) == 0)
    let error = #expect(throws: MountError.self) { _ = try Mountpoint.hold(place) }
    #expect(error?.description.contains("a directory above it was replaced") == true)
    // The last part of the path as well.
    #expect(unlink(scratch.path("theirs")) == 0)
    #expect(symlink(scratch.path("victim"), scratch.path("theirs")) == 0)
    #expect(throws: MountError.self) { _ = try Mountpoint.hold(scratch.path("theirs")) }
  }

  @Test func allowOtherIsRefusedToUsersInOneLine() throws {
    if getuid() == 0 || readSmallFile("/etc/fuse.conf").map({ isAllowed($0) }) == true { return }
    let mount = try MountFixture(files: [:], mounts: false)
    defer { mount.close() }
    var options = mount.options()
    options.allowOther = true
    let error = #expect(throws: MountError.self) {
      _ = try FuseFrontEnd(
        fileSystem: mount.fileSystem, options: options, metrics: mount.metrics.fuse,
        log: mount.log)
    }
    #expect(error?.description.contains("add the line user_allow_other") == true)
  }

  private func isAllowed(_ configuration: String) -> Bool {
    configuration.split(separator: "\n").contains("user_allow_other")
  }

  @Test(.timeLimit(.minutes(10))) func unmountEndsAnIdleMountAtOnce() throws {
    let mount = try MountFixture(files: ["file": [1]])
    defer { mount.close() }
    // The grace is not needed: the kernel lets go by itself.
    mount.front.unmount(grace: .seconds(3600))
    mount.front.unmount(grace: .seconds(3600))
    #expect(mount.waitForEnd())
    #expect(!mount.isMounted)
  }

  @Test(.timeLimit(.minutes(10))) func unmountOfABusyMountEndsAfterTheGrace() throws {
    let mount = try MountFixture(files: ["file": [1, 2, 3], "other": [4]])
    defer { mount.close() }
    let file = open(mount.mountPoint + "/file", O_RDONLY)
    defer { close(file) }
    let folder = open(mount.mountPoint, O_RDONLY | O_DIRECTORY)
    defer { close(folder) }
    mount.front.unmount(grace: .seconds(3600))
    #expect(!mount.isMounted)
    // Out of the name space, and still served.
    var bytes = [UInt8](repeating: 0, count: 3)
    #expect(pread(file, &bytes, 3, 0) == 3)
    #expect(bytes == [1, 2, 3])
    #expect(!mount.hasEnded.withLock { $0 })
    mount.front.unmount(grace: .zero)
    #expect(mount.waitForEnd())
    var status = stat()
    // The second while a child that is being started still has a copy of the descriptor.
    let code = failure { fstatat(folder, "other", &status, 0) }
    #expect(code == ENOTCONN || code == ECONNABORTED)
  }

  @Test(.timeLimit(.minutes(10))) func unmountOfABusyMountEndsOnceTheLastFileIsClosed() throws {
    let mount = try MountFixture(files: ["file": [1, 2, 3]])
    defer { mount.close() }
    let file = open(mount.mountPoint + "/file", O_RDONLY)
    mount.front.unmount(grace: .seconds(3600))
    close(file)
    #expect(mount.waitForEnd())
  }

  @Test(.timeLimit(.minutes(10))) func aMountThatIsNeverServedLeavesNothing() throws {
    let mount = try MountFixture(files: [:], mounts: false)
    defer { mount.close() }
    var front: FuseFrontEnd? = try FuseFrontEnd(
      fileSystem: mount.fileSystem, options: mount.options(), metrics: mount.metrics.fuse,
      log: mount.log)
    #expect(mount.isMounted)
    front?.unmount()
    front?.run()
    #expect(!mount.isMounted)
    front = try FuseFrontEnd(
      fileSystem: mount.fileSystem, options: mount.options(), metrics: mount.metrics.fuse,
      log: mount.log)
    #expect(mount.isMounted)
    front = nil
    #expect(!mount.isMounted)
  }

  @Test(.timeLimit(.minutes(10)), .enabled(if: getuid() == 0, "fusermount3 forbids it to users"))
  func aMountOnTopOfOursIsLeftAlone() throws {
    let first = try MountFixture(files: ["first": [1]])
    defer { first.close() }
    let second = try FuseFrontEnd(
      fileSystem: first.fileSystem, options: first.options(), metrics: first.metrics.fuse,
      log: first.log)
    let server = Posix.Thread(named: "test-second") { second.run() }
    first.front.unmount(grace: .zero)
    #expect(first.waitForEnd())
    #expect(try names(in: first.mountPoint).contains("first"))
    second.unmount(grace: .zero)
    server.join()
    // What lay under it is dead by now, and ours.
    #expect(umount2(first.mountPoint, CInt(MNT_DETACH)) == 0)
  }

  @Test(.timeLimit(.minutes(10))) func aRequestDroppedWithoutAnAnswerFailsWithEIO() throws {
    let mount = try MountFixture(files: ["file": [1]], mounts: false)
    defer { mount.close() }
    var callbacks = RequestTable.callbacks()
    callbacks.statfs = { request, _ in
      FuseSession.with(request) { _ = ParkedRequest($1, $0) }
    }
    let session = try FuseSession(
      fileSystem: mount.fileSystem, options: mount.options(), metrics: mount.metrics.fuse,
      log: mount.log, callbacks: callbacks)
    let folder = try Mountpoint(
      session, at: mount.mountPoint, options: mount.options(), log: mount.log)
    try session.receiveInit()
    let loop = FuseLoop(session, threads: 1)
    try loop.start()
    let server = Posix.Thread(named: "test-server") { loop.run {} }
    var status = statvfs()
    #expect(failure { statvfs(mount.mountPoint, &status) } == EIO)
    #expect(mount.metrics.fuse.droppedRequests.count == 1)
    folder.detach()
    loop.stop(by: .now)
    server.join()
    session.close()
  }
}

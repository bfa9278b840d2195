import CFuseShim
import Glibc
import Metrics
import Posix
import Testing

@testable import FuseFrontEnd

@Suite("A mounted tree", .serialized, .enabled(if: canMount, "no /dev/fuse here"))
struct MountedTreeTests {
  @Test(.timeLimit(.minutes(10))) func aWalkFindsEveryNameWithItsSize() throws {
    let many = (0..<1000).map { "many/file-\($0)" }
    var files: [String: [UInt8]] = ["a": [1, 2, 3], "empty": [], "deep/er/est": [9]]
    for name in many { files[name] = [7, 7] }
    for number in 0..<1000 { files["more/file-\(number)"] = [8] }
    let mount = try MountFixture(files: files)
    defer { mount.close() }
    #expect(
      try names(in: mount.mountPoint).sorted() == [".", "..", "a", "deep", "empty", "many", "more"])
    let listed = try names(in: mount.mountPoint + "/many")
    #expect(Set(listed) == Set(many.map { String($0.dropFirst(5)) } + [".", ".."]))
    #expect(listed.count == 1002)
    // Names alone, until somebody asks for their attributes one by one: from then on they come along.
    for path in files.keys.sorted(by: { $0.count < $1.count || ($0.count == $1.count && $0 < $1) })
    {
      if path == "more/file-0" { _ = try names(in: mount.mountPoint + "/more") }
      let bytes = files[path]!
      var status = stat()
      #expect(stat(mount.mountPoint + "/" + path, &status) == 0)
      #expect(status.st_size == bytes.count)
      #expect(status.st_mode == S_IFREG | 0o444)
      #expect(status.st_uid == getuid())
    }
    #expect(
      run("sh", "-c", "test $(find \(mount.mountPoint) -type f | wc -l) = \(files.count)") == 0)
    #expect(mount.metrics.fuse.lookups.count > 1000)
    #expect(mount.metrics.fuse.lookups.count < 1100)
  }

  @Test(.timeLimit(.minutes(10))) func everyByteIsThatOfTheSource() throws {
    let large = randomBytes(5_000_001, seed: 42)
    let mount = try MountFixture(files: ["large": large, "one": [5], "none": []])
    defer { mount.close() }
    for name in ["large", "one", "none"] {
      #expect(run("cmp", mount.source + "/" + name, mount.mountPoint + "/" + name) == 0)
    }
    let file = open(mount.mountPoint + "/large", O_RDONLY)
    defer { close(file) }
    for offset in [0, 1, 131_071, 131_072, 4_999_990] {
      var piece = [UInt8](repeating: 0, count: 1000)
      let count = pread(file, &piece, piece.count, offset)
      #expect(Array(piece.prefix(max(count, 0))) == Array(large[offset...].prefix(1000)))
    }
    #expect(lseek(file, 0, SEEK_END) == large.count)
  }

  @Test(.timeLimit(.minutes(10))) func everyCallThatWouldWriteFailsWithEROFS() throws {
    let mount = try MountFixture(files: ["file": [1], "folder/x": [2]])
    defer { mount.close() }
    let root = mount.mountPoint
    let file = root + "/file"
    let new = root + "/new"
    let folder = root + "/folder"
    #expect(failure { open(file, O_WRONLY) } == EROFS)
    #expect(failure { open(file, O_RDWR) } == EROFS)
    #expect(failure { open(file, O_RDONLY | O_TRUNC) } == EROFS)
    #expect(failure { open(new, O_WRONLY | O_CREAT, 0o644) } == EROFS)
    #expect(failure { open(new, O_RDONLY | O_CREAT, 0o644) } == EROFS)
    #expect(failure { truncate(file, 0) } == EROFS)
    #expect(failure { mkdir(new, 0o755) } == EROFS)
    #expect(failure { mknod(new, S_IFIFO | 0o644, 0) } == EROFS)
    #expect(failure { unlink(file) } == EROFS)
    #expect(failure { rmdir(folder) } == EROFS)
    #expect(failure { symlink("file", new) } == EROFS)
    #expect(failure { link(file, new) } == EROFS)
    #expect(failure { rename(file, new) } == EROFS)
    #expect(failure { chmod(file, 0o777) } == EROFS)
    #expect(failure { chown(file, 1, 1) } == EROFS)
    #expect(failure { utimes(file, nil) } == EROFS)
    #expect(failure { access(file, W_OK) } == EROFS)
    #expect(failure { setxattr(file, "user.x", "y", 1, 0) } == EROFS)
    #expect(failure { removexattr(file, "user.x") } == EROFS)
    #expect(failure { access(file, R_OK) } == 0)
    #expect(failure { access(file, X_OK) } == EACCES)
    #expect(failure { access(folder, R_OK | X_OK) } == 0)
    #expect(mount.metrics.fuse.errors.count == 0)
  }

  @Test(.timeLimit(.minutes(10))) func namesThatAreNotThereAndNamesTooLong() throws {
    let long = String(repeating: "n", count: 255)
    let mount = try MountFixture(files: ["file": [1], long: [2]])
    defer { mount.close() }
    var status = stat()
    #expect(failure { stat(mount.mountPoint + "/absent", &status) } == ENOENT)
    #expect(failure { stat(mount.mountPoint + "/file/x", &status) } == ENOTDIR)
    #expect(failure { stat(mount.mountPoint + "/" + long, &status) } == 0)
    #expect(failure { stat(mount.mountPoint + "/" + long + "n", &status) } == ENAMETOOLONG)
    var target = [CChar](repeating: 0, count: 16)
    #expect(failure { readlink(mount.mountPoint + "/file", &target, 16) } == EINVAL)
  }

  @Test(.timeLimit(.minutes(10))) func extendedAttributesAreListedAndRead() throws {
    let mount = try MountFixture(files: ["file": [1]])
    defer { mount.close() }
    let path = mount.mountPoint + "/file"
    var list = [UInt8](repeating: 0, count: 1024)
    let size = listxattr(path, nil, 0)
    #expect(size > 0)
    let count = list.withUnsafeMutableBytes {
      listxattr(path, $0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count)
    }
    #expect(count == size)
    let names = list.prefix(max(count, 0)).split(separator: 0)
      .map { String(decoding: $0, as: UTF8.self) }
    #expect(names.contains("user.millrace.key"))
    var value = [UInt8](repeating: 0, count: 64)
    let length = getxattr(path, "user.millrace.key", &value, value.count)
    #expect(String(decoding: value.prefix(max(length, 0)), as: UTF8.self) == "file")
    #expect(getxattr(path, "user.millrace.key", nil, 0) == 4)
    #expect(failure { getxattr(path, "user.millrace.key", &value, 2) } == ERANGE)
    #expect(failure { getxattr(path, "user.other", &value, 64) } == ENODATA)
    // What no file here can have: a program that hears so need not ask for each.
    #expect(failure { getxattr(path, "security.selinux", &value, 64) } == EOPNOTSUPP)
    #expect(failure { getxattr(path, "system.posix_acl_access", &value, 64) } == EOPNOTSUPP)
  }

  @Test(.timeLimit(.minutes(10))) func statfsShowsADiskThatIsNotFullAndNamesOf255Bytes() throws {
    let mount = try MountFixture(files: [:])
    defer { mount.close() }
    var status = statvfs()
    #expect(statvfs(mount.mountPoint, &status) == 0)
    #expect(status.f_bsize == 4096)
    #expect(status.f_blocks == (1 << 50) / 4096)
    #expect(status.f_bavail == status.f_blocks && status.f_bfree == status.f_blocks)
    #expect(status.f_namemax == 255)
  }

  @Test(.timeLimit(.minutes(10))) func theKernelGrantsRequestsOfAMebibyte() throws {
    let mount = try MountFixture(files: ["large": randomBytes(8 << 20, seed: 1)])
    defer { mount.close() }
    let session = mount.front.negotiated
    #expect(session["requestSize"] == "1048576")
    #expect(session["readdirplus"] == "yes")
    #expect(session["mountPoint"] == mount.mountPoint)
    #expect(run("cmp", mount.source + "/large", mount.mountPoint + "/large") == 0)
    if session["readAhead"] == "1024 KiB" {
      // 8 MiB in requests of 128 KiB would be 64.
      #expect(mount.metrics.fuse.reads.count < 24)
    }
  }

  @Test(.timeLimit(.minutes(10))) func theSecondReadingOfAFolderComesFromTheKernel() throws {
    let mount = try MountFixture(files: ["a": [1], "b": [2]])
    defer { mount.close() }
    // The first reading fills the kernel's copy, the second may still check it.
    for _ in 0..<2 { _ = try names(in: mount.mountPoint) }
    let before = mount.metrics.fuse.readdirs.count
    for _ in 0..<5 { #expect(try names(in: mount.mountPoint).count == 4) }
    #expect(mount.metrics.fuse.readdirs.count == before)
  }

  @Test(.timeLimit(.minutes(10))) func withoutATTLEveryReadingOfAFolderAsks() throws {
    let mount = try MountFixture(files: ["a": [1]], ttl: .zero)
    defer { mount.close() }
    #expect(try names(in: mount.mountPoint).count == 3)
    try write([2], to: mount.source + "/b")
    #expect(try names(in: mount.mountPoint).count == 4)
  }
}

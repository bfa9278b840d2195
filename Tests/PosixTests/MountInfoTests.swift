import Glibc
import Posix
import TestSupport
import Testing

@Suite struct MountInfoTests {
  @Test func theTopmostMountAtAPathIsFoundAndEscapesAreRead() {
    let table = MountInfo(
      """
      22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
      30 22 0:50 / /mnt/a\\040b rw,nosuid - fuse.other x rw
      31 30 0:52 / /mnt/a\\040b rw,nosuid shared:3 master:4 - fuse.millrace s3://b rw

      """.utf8)
    #expect(table.entries.count == 3)
    #expect(table.topmost(at: "/mnt/a b")?.device.description == "0:52")
    #expect(table.topmost(at: "/mnt/a b")?.type == "fuse.millrace")
    #expect(table.topmost(at: "/mnt/a b")?.identifier == 31)
    #expect(table.topmost(at: "/mnt") == nil)
  }

  @Test func aPathLiesOnTheMountNearestToIt() {
    let table = MountInfo(
      """
      22 1 8:1 / / rw - ext4 /dev/sda1 rw
      30 22 8:2 / /data rw - xfs /dev/sdb1 rw
      31 30 0:52 / /data rw - overlay none rw
      32 31 8:3 / /data/in rw - ext4 /dev/sdc1 rw
      """.utf8)
    #expect(table.mount(holding: "/data/x")?.type == "overlay")
    #expect(table.mount(holding: "/data/in")?.device == DeviceNumber(major: 8, minor: 3))
    #expect(table.mount(holding: "/data-2")?.path == "/")
  }

  @Test(arguments: [
    "", "broken line", "1 2 x:y / /m rw - ext4 d rw", "1 2 0:5 / /m rw - ext4", "- - - - - - -",
    "1 2 0:5 - ext4 d rw",
  ])
  func aLineThatIsNoneOfAMountIsLeftOut(line: String) {
    #expect(MountInfo("\(line)\n22 1 8:1 / / rw - ext4 d rw".utf8).entries.count == 1)
  }

  @Test(arguments: [
    ("a\\134b", "a\\b"), ("a\\", "a\\"), ("a\\04", "a\\04"), ("a\\999b", "a\\999b"),
  ])
  func onlyThreeOctalDigitsAreAnEscape(written: String, path: String) {
    let table = MountInfo("1 2 0:5 / /\(written) rw - ext4 d rw".utf8)
    #expect(table.entries.first?.path == "/" + path)
  }

  @Test func thisMachinesTableHasARootAndItsNumber() {
    let root = MountInfo.current().topmost(at: "/")
    #expect(root != nil && root?.identifier == MountInfo.identifier(ofMountAt: "/"))
    #expect(MountInfo.identifier(ofMountAt: "/does/not/exist") == nil)
  }
}

@Suite struct SmallFileTests {
  @Test func aFileIsReadWholeAndUpToItsLimit() throws {
    let scratch = try TemporaryFolder("small")
    let bytes = (0..<100_000).map { UInt8(truncatingIfNeeded: $0) }
    try writeFile(scratch.path("file"), bytes)
    #expect(try readSmallBytes(scratch.path("file"), atMost: 4 << 20) == bytes)
    let part = try readSmallBytes(scratch.path("file"), atMost: 10_000)
    #expect(
      part.count >= 10_000 && part.count < bytes.count && part[...] == bytes.prefix(part.count))
    #expect(readSmallFile("/proc/self/comm")?.hasSuffix("\n") == true)
    // Neither a directory nor what is not there.
    #expect(readSmallFile("/does/not/exist") == nil && readSmallFile(scratch.path) == nil)
  }
}

@Suite struct HeldDirectoryTests {
  /// What is done below it is done in the directory that was opened, wherever it is by then.
  @Test func aDirectoryThatIsReplacedIsStillTheOneThatIsHeld() throws {
    let scratch = try TemporaryFolder("held")
    try scratch.folder("a/in")
    try scratch.folder("b/in")
    let held = try HeldDirectory(scratch.path("a/in"))
    #expect(held.isAt(scratch.path("a/in")))
    #expect(rename(scratch.path("a"), scratch.path("moved")) == 0)
    #expect(symlink(scratch.path("b"), scratch.path("a")) == 0)
    #expect(!held.isAt(scratch.path("a/in")))
    #expect(mkdir(held.path + "/new", 0o755) == 0)
    #expect(access(scratch.path("moved/in/new"), F_OK) == 0)
    #expect(access(scratch.path("b/in/new"), F_OK) != 0)
    // A link is followed where that is meant.
    #expect(throws: (any Error).self) { try HeldDirectory(scratch.path("a")) }
    #expect(throws: Never.self) { try HeldDirectory(scratch.path("a"), followsLink: true) }
  }
}

import Glibc
import Posix
import SystemPackage
import TestSupport
import Testing

/// Folders are trusted as sshd trusts the way to a key file, and files in them only if they are this user's alone.
@Suite struct PrivateFolderTests {
  private static let sticky: mode_t = 0o1777

  @Test func parentsBelongToRootOrTheUserAndAreClosedToOthersOrSticky() {
    typealias Flaw = FolderTrust.Flaw
    let cases: [(owner: uid_t, mode: mode_t, Flaw?)] = [
      (0, 0o755, nil), (1000, 0o755, nil), (1000, 0o700, nil), (0, Self.sticky, nil),
      (1001, 0o755, .foreignOwner(1001)), (1001, Self.sticky, .foreignOwner(1001)),
      (0, 0o777, .writableByOthers), (1000, 0o775, .writableByOthers),
      (1000, 0o757, .writableByOthers), (1000, 0o1775, nil), (65534, 0o755, .foreignOwner(65534)),
    ]
    for (owner, mode, flaw) in cases {
      let trust = FolderTrust(owner: owner, mode: S_IFDIR | mode)
      #expect(trust.flawAsParent(of: 1000) == flaw, "\(owner) \(String(mode, radix: 8))")
    }
  }

  @Test func inAUserNamespaceFoldersOfTheMachinesRootAreParentsUnlessWritable() {
    let outside: uid_t = 65534
    func flaw(_ mode: mode_t) -> FolderTrust.Flaw? {
      FolderTrust(owner: outside, mode: mode).flawAsParent(of: 0, unmapped: outside)
    }
    #expect(flaw(0o755) == nil)
    #expect(flaw(0o775) == .writableByOthers)
  }

  @Test func theFolderItselfBelongsToTheUserAndIsClosedToOthers() {
    func flaw(_ owner: uid_t, _ mode: mode_t) -> FolderTrust.Flaw? {
      FolderTrust(owner: owner, mode: mode).flawAsPrivate(to: 1000)
    }
    #expect(flaw(1000, 0o755) == nil && flaw(1000, 0o700) == nil)
    #expect(flaw(0, 0o700) == .foreignOwner(0))
    #expect(flaw(1000, 0o1777) == .writableByOthers && flaw(1000, 0o770) == .writableByOthers)
  }

  @Test func missingFoldersAreMadeForThisUserAloneAndLooseOnesClosed() throws {
    let scratch = try TemporaryFolder("private")
    let made = try PrivateFolder.open(scratch.path("a/b"))
    #expect(made.status(of: ".")?.st_mode == S_IFDIR | 0o700)
    let loose = try scratch.folder("loose")
    #expect(chmod(loose, 0o777) == 0)
    let closed = try PrivateFolder.open(loose)
    #expect(closed.status(of: ".")?.st_mode == S_IFDIR | 0o755)
  }

  @Test func aParentThatOthersMayWriteIsRefusedByName() throws {
    let scratch = try TemporaryFolder("private")
    let parent = try scratch.folder("parent")
    #expect(chmod(parent, 0o777) == 0)
    #expect(throws: PrivateFolder.Problem.untrusted(path: parent, .writableByOthers)) {
      try PrivateFolder.open(parent + "/cache")
    }
    #expect(chmod(parent, Self.sticky) == 0)
    _ = try PrivateFolder.open(parent + "/cache")
  }

  @Test(.enabled(if: requireOrSkip(.root))) func aFolderOrParentOfAnotherUserIsRefused() throws {
    let scratch = try TemporaryFolder("private")
    let parent = try scratch.folder("parent")
    let folder = try scratch.folder("parent/cache")
    for foreign in [parent, folder] {
      #expect(chown(foreign, 65533, 65533) == 0)
      #expect(throws: PrivateFolder.Problem.untrusted(path: foreign, .foreignOwner(65533))) {
        try PrivateFolder.open(folder)
      }
      #expect(chown(foreign, 0, 0) == 0)
    }
    // What leads there by a link is judged by where it leads.
    let link = scratch.path("link")
    #expect(symlink(folder, link) == 0)
    _ = try PrivateFolder.open(link)
    #expect(chown(parent, 65533, 65533) == 0)
    #expect(throws: PrivateFolder.Problem.self) { try PrivateFolder.open(link) }
  }

  @Test func aLinkOrAFileWithASecondNameIsRemovedAndNeverWrittenTo() throws {
    let scratch = try TemporaryFolder("private")
    let victim = try scratch.file("victim", text: "secret")
    let folder = try PrivateFolder.open(scratch.folder("cache"))
    let plants: [(String) -> CInt] = [
      { symlink(victim, $0) }, { link(victim, $0) }, { mkfifo($0, 0o600) }, { mkdir($0, 0o700) },
      { symlink("/nowhere", $0) },
    ]
    for (index, plant) in plants.enumerated() {
      #expect(plant(folder.path + "/f") == 0)
      if index < 3 {
        #expect(throws: Errno.noSuchFileOrDirectory) { _ = try folder.open("f", O_RDONLY) }
        #expect(folder.status(of: "f") == nil, "case \(index)")
        #expect(plant(folder.path + "/f") == 0)
      }
      let file = try folder.create("f")
      #expect(write(file.raw, "new", 3) == 3)
      #expect(folder.read("f", limit: 10) == Array("new".utf8), "case \(index)")
      folder.remove("f")
    }
    #expect(try readText(victim) == "secret")
  }

  @Test(.enabled(if: requireOrSkip(.root))) func aFileOfAnotherUserIsAbsent() throws {
    let scratch = try TemporaryFolder("private")
    let folder = try PrivateFolder.open(scratch.path)
    let path = try scratch.file("f", text: "planted")
    #expect(chown(path, 65533, 65533) == 0)
    #expect(throws: Errno.noSuchFileOrDirectory) { _ = try folder.open("f", O_RDWR) }
    let file = try folder.openOrCreate("f")
    #expect(lseek(file.raw, 0, SEEK_END) == 0)
  }

  @Test func aSubFolderIsNotReachedThroughALink() throws {
    let scratch = try TemporaryFolder("private")
    let other = try scratch.folder("other")
    let folder = try PrivateFolder.open(scratch.folder("cache"))
    #expect(symlink(other, folder.path + "/sub") == 0)
    #expect(throws: PrivateFolder.Problem.self) { try folder.folder("sub") }
    #expect(!folder.isPrivate("sub") && folder.isPrivate("none"))
  }

  @Test func workGoesOnInTheOldFolderWhenAnotherTakesItsPlace() throws {
    let scratch = try TemporaryFolder("private")
    let path = try scratch.folder("cache")
    let folder = try PrivateFolder.open(path)
    #expect(rename(path, scratch.path("moved")) == 0)
    try scratch.file("cache/f", text: "planted")
    _ = try folder.create("f")
    try folder.rename("f", to: "g")
    #expect(folder.read("g", limit: 10) == [] && folder.read("f", limit: 10) == nil)
    #expect(try readText(path + "/f") == "planted")
    #expect(fileExists(scratch.path("moved/g")))
  }
}

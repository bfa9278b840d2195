import Glibc
import Posix
import TestSupport
import Testing

extension MountTests {
  /// A second user tries every door of a root's mount.
  @Suite struct OtherUsers {
    private static let alice: uid_t = 65534
    private static let mallory: uid_t = 65533

    private func run(as user: uid_t, _ command: String...) throws -> CommandResult {
      try CommandResult.run(
        ["setpriv", "--reuid", "\(user)", "--regid", "\(user)", "--clear-groups"] + command)
    }

    private func give(_ path: String, to user: uid_t, _ mode: mode_t) {
      #expect(chown(path, user, user) == 0 && chmod(path, mode) == 0, "\(path)")
    }

    @Test(.enabled(if: requireOrSkip(.root, .fuse)))
    func whatASecondUserMayNotReadInTheSourceHeMayNotReadInTheMount() throws {
      let scratch = try TemporaryFolder("neighbours")
      #expect(chmod(scratch.path, 0o755) == 0)
      for name in ["public", "private", "closed/f", "mallory/own"] {
        try scratch.file("tree/\(name)", text: name)
      }
      try scratch.file("secret", text: "secret")
      let tree = scratch.path("tree")
      give(tree + "/public", to: Self.alice, 0o644)
      give(tree + "/private", to: Self.alice, 0o600)
      give(tree + "/closed", to: Self.alice, 0o700)
      give(tree + "/closed/f", to: Self.alice, 0o644)
      give(tree + "/mallory", to: Self.mallory, 0o755)
      symlink("../../secret", tree + "/mallory/out")
      symlink(scratch.path("secret"), tree + "/mallory/absolute")
      symlink("../closed/f", tree + "/mallory/closed")
      symlink("../closed", tree + "/mallory/folder")
      symlink("../public", tree + "/mallory/public")
      let place = try scratch.folder("mnt")
      let mount = try MountedMillrace(
        "file://" + tree, cache: scratch.folder("cache"), at: place,
        options: ["--allow-other", "--metadata-ttl", "0", "--prefetch", "off"])
      func reads(_ user: uid_t, _ name: String) throws -> String? {
        let result = try run(as: user, "cat", "\(place)/\(name)")
        return result.succeeded ? result.output : nil
      }
      #expect(try reads(Self.mallory, "public") == "public")
      #expect(try reads(Self.mallory, "mallory/public") == "public")
      #expect(try reads(Self.mallory, "mallory/own") == "mallory/own")
      for name in ["private", "closed/f", "mallory/out", "mallory/absolute", "mallory/closed"] {
        #expect(try reads(Self.mallory, name) == nil, "\(name)")
      }
      #expect(try reads(Self.mallory, "mallory/folder/f") == nil)
      #expect(try !run(as: Self.mallory, "ls", place + "/closed").succeeded)
      #expect(try reads(Self.alice, "private") == "private")
      #expect(try reads(Self.alice, "closed/f") == "closed/f")
      let listed = try run(as: Self.mallory, "ls", place + "/mallory")
      #expect(listed.output.split(separator: "\n").sorted() == ["folder", "own", "public"])
      // A right that is taken away, for files that were read before too.
      #expect(chmod(tree + "/public", 0o600) == 0)
      #expect(try reads(Self.mallory, "public") == nil)
      #expect(try reads(Self.alice, "public") == "public")
      // Orders and the socket are the owner's.
      let order = "echo x > \(place)/.millrace/order"
      #expect(try !run(as: Self.mallory, "sh", "-c", order).succeeded)
      let socket = try mount.stats().text("socket")
      let stats = try run(
        as: Self.mallory, "curl", "-sS", "--unix-socket", socket, "http://millrace/v1/stats")
      #expect(!stats.succeeded && stats.output.isEmpty)
      try mount.unmount()
      // Under a root that is closed to others there is nothing for them.
      #expect(chmod(tree, 0o700) == 0)
      let closed = try MountedMillrace(
        "file://" + tree, cache: scratch.path("cache"), at: place, options: ["--allow-other"])
      #expect(try !run(as: Self.mallory, "ls", place).succeeded)
      try closed.unmount()
    }

    @Test(.enabled(if: requireOrSkip(.root, .fuse)))
    func aMountRefusesWhatASecondUserPutInItsWay() throws {
      let scratch = try TemporaryFolder("doors")
      try scratch.file("tree/f", text: "f")
      let place = try scratch.folder("mnt")
      let victim = try scratch.file("victim", text: "kept")
      let foreign = try scratch.folder("foreign")
      give(foreign, to: Self.mallory, 0o777)
      let loose = try scratch.folder("loose")
      #expect(chmod(loose, 0o777) == 0)
      let link = scratch.path("log")
      symlink(victim, link)
      let theirs = try scratch.file("theirs", text: "")
      give(theirs, to: Self.mallory, 0o666)
      let cache = try scratch.folder("cache")
      let doors: [(options: [String], said: String)] = [
        (["--cache-dir", foreign], "\(foreign) belongs to uid \(Self.mallory)"),
        (["--cache-dir", foreign + "/cache"], "\(foreign) belongs to uid \(Self.mallory)"),
        (["--cache-dir", loose + "/cache"], "chmod go-w \(loose)"),
        (["--cache-dir", cache, "--log-file", link], "it is a link"),
        (["--cache-dir", cache, "--log-file", theirs], "belongs to another user"),
      ]
      for (options, said) in doors {
        let result = try CommandResult.run(
          [Checkout.millrace(), "mount", "file://" + scratch.path("tree"), place] + options)
        #expect(!result.succeeded && result.errors.contains(said), "\(options): \(result)")
        #expect(!Mounts.isMounted(place))
      }
      let snapshots = try scratch.folder("cache/snapshots")
      give(snapshots, to: Self.mallory, 0o777)
      let list = try CommandResult.run(
        [Checkout.millrace(), "snapshot", "list", "--cache-dir", cache])
      #expect(!list.succeeded && list.errors.contains(snapshots), "\(list)")
      #expect(try readText(victim) == "kept")
      #expect(!fileExists(foreign + "/cache") || (try? readFile(foreign + "/cache")) == nil)
    }
  }
}

import Glibc
import Posix
import TestSupport
import Testing

extension MountTests {
  /// Sites whose listings are HTML or JSON: all files are seen, whether or not the listing has their sizes.
  @Suite struct HTMLListings {
    private static let count = 60

    enum Server: String, CaseIterable, CustomTestStringConvertible {
      case nginxExact, nginxRounded, nginxJSON, python
      var testDescription: String { rawValue }
    }

    /// 60 files in three directories, one of them empty, half of them too large for a rounded size to be exact.
    private func makeTree(_ scratch: TemporaryFolder) throws -> String {
      for index in 0..<Self.count {
        let size = index == 0 ? 0 : index % 2 == 0 ? index : 20_000 + index
        try scratch.file(
          "site/d\(index % 3)/file \(index).bin", seededBytes(size, seed: UInt64(index)))
      }
      return scratch.path("site")
    }

    private func start(_ server: Server, _ tree: String, _ scratch: TemporaryFolder) throws
      -> (url: String, owner: any Sendable)
    {
      switch server {
      case .nginxExact:
        let nginx = try Nginx.start(root: tree, autoindex: .htmlExact)
        return (nginx.url + "/", nginx)
      case .nginxRounded:
        let nginx = try Nginx.start(root: tree, autoindex: .html)
        return (nginx.url + "/", nginx)
      case .nginxJSON:
        let nginx = try Nginx.start(root: tree, autoindex: .json)
        return (nginx.url + "/", nginx)
      case .python:
        let port = try freePorts(1)[0]
        let python = try ServerProcess(
          ["python3", "-m", "http.server", "\(port)", "--bind", "127.0.0.1"], port: port,
          log: scratch.path("python.log"), folder: tree)
        return ("http://127.0.0.1:\(port)/", python)
      }
    }

    private func millrace(_ arguments: String...) throws -> CommandResult {
      try CommandResult.run([Checkout.millrace()] + arguments, within: .seconds(120))
    }

    @Test(.enabled(if: requireOrSkip(.program("python3"))), arguments: Server.allCases)
    func jobsSeeAllFilesOfAnHTMLListing(_ server: Server) throws {
      let scratch = try TemporaryFolder("html")
      let tree = try makeTree(scratch)
      let (url, owner) = try start(server, tree, scratch)
      let mount = try MountedMillrace(
        url, cache: scratch.folder("cache"), options: ["--prefetch", "off"], keeping: [owner])
      let warm = try millrace("warm", mount.path)
      #expect(warm.succeeded && warm.output.contains("Warmed \(Self.count) files"), "\(warm)")
      let du = try millrace("du", mount.path)
      #expect(du.succeeded, "\(du)")
      let rows = du.output.split(separator: "\n").map(String.init)
      #expect(rows.first { $0.hasPrefix("all") }?.contains("\(Self.count) files") == true, "\(du)")
      #expect(
        rows.first { $0.hasPrefix("on disk") }?.contains("\(Self.count - 1) files") == true, "\(du)"
      )
      #expect(try millrace("pin", mount.path + "/d1").output.contains("Pinned 20 files"))
      #expect(
        try millrace("unpin", mount.path).output.contains("Unpinned 20 files of \(Self.count)"))
      let evicted = try millrace("evict", mount.path)
      #expect(
        evicted.succeeded && evicted.output.contains("Evicted \(Self.count - 1) files"),
        "\(evicted)")
      if server == .nginxExact {
        // One row is compared with what the server says of its file.
        let stats = try mount.stats()
        #expect(try stats.number("store.headRequests") <= 1 + stats.sentTwice)
      }
      try Readers.compare(tree, mount.path)
      try mount.unmount()
    }

    @Test(
      .enabled(if: requireOrSkip(.program("python3"))), arguments: [Server.nginxExact, .python])
    func prefetchSeesAllFilesOfAnHTMLListing(_ server: Server) throws {
      let scratch = try TemporaryFolder("html")
      let tree = try makeTree(scratch)
      let (url, owner) = try start(server, tree, scratch)
      let mount = try MountedMillrace(
        url, cache: scratch.folder("cache"), options: ["--prefetch", "all"], keeping: [owner])
      let isAll = waitFor(within: .seconds(60)) { () -> Bool? in
        (try? mount.stats().number("backgroundFiles")) == Self.count - 1 ? true : nil
      }
      #expect(isAll == true, "\((try? mount.stats().json) ?? "")")
      try mount.unmount()
    }

    @Test(arguments: [Server.nginxExact, .nginxRounded, .nginxJSON])
    func aFileIsOneVersionWhetherItIsListedOrLookedUp(_ server: Server) throws {
      let scratch = try TemporaryFolder("html")
      let tree = try makeTree(scratch)
      let (url, owner) = try start(server, tree, scratch)
      // Each look-up asks the server.
      let mount = try MountedMillrace(
        url, cache: scratch.folder("cache"), options: ["--prefetch", "off", "--metadata-ttl", "0"],
        keeping: [owner])
      #expect(try millrace("warm", mount.path).succeeded)
      let fetched = try mount.stats().number("store.bytesFetched")
      try Readers.compare(tree, mount.path)
      #expect(try mount.stats().number("store.bytesFetched") == fetched)
      let du = try millrace("du", mount.path, "--json")
      #expect(du.output.contains("\"filesOnDisk\" : \(Self.count - 1)"), "\(du)")
      try mount.unmount()
    }

    @Test func aFileWhoseSizeIsNotToBeHadIsCountedAndNamed() throws {
      let scratch = try TemporaryFolder("html")
      let tree = try makeTree(scratch)
      let nginx = try Nginx.start(
        root: tree, autoindex: .html, extra: #"if ($uri = "/d1/file 1.bin") { return 403; }"#)
      let mount = try MountedMillrace(
        nginx.url + "/", cache: scratch.folder("cache"), options: ["--prefetch", "off"],
        keeping: [nginx])
      for action in ["warm", "du"] {
        let said = try millrace(action, mount.path)
        #expect(said.status == .exited(1), "\(said)")
        #expect(said.errors.contains("\(mount.path)/d1/file 1.bin: "), "\(said)")
        #expect(said.output.contains("\(Self.count - 1) files"), "\(said)")
      }
      try mount.unmount()
    }
  }
}

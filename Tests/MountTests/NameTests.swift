import Glibc
import TestSupport
import Testing

extension MountTests {
  /// Keys that are odd, many, or no paths at all.
  @Suite struct Names {
    @Test(arguments: [Backend.seaweedfs, .rclone, .moto, .nginx, .folder])
    func oddKeysAreListedAndReadByTheirOwnBytes(_ backend: Backend) throws {
      let served = try backend.serve { scratch in
        // nginx leaves names that begin with a dot out of its listings.
        let names = DataSet.oddNames().filter { backend != .nginx || $0.first != "." }
        for (index, name) in names.enumerated() {
          try scratch.file("tree/\(name)", text: "content \(index)")
        }
        return scratch.path("tree")
      }
      let mount = try served.mount()
      try Readers.compare(served.tree, mount.path, readers: 4)
      try mount.unmount()
    }

    @Test(arguments: [Backend.seaweedfs, .nginx])
    func aFolderOfTenThousandFilesIsListedWholeAndRead(_ backend: Backend) throws {
      let served = try backend.serve { scratch in
        for index in 0..<10_000 { try scratch.file("tree/many/f\(index)", text: "\(index)") }
        return scratch.path("tree")
      }
      let mount = try served.mount()
      #expect(try namesIn(mount.path + "/many").count == 10_000)
      try Readers.compare(served.tree, mount.path, readers: 8)
      try mount.unmount()
    }

    @Test func keysThatNoPathCanReachAreLeftOutAndCounted() throws {
      // moto takes any key; servers over folders do not.
      let moto = try MotoServer.start()
      let unreachable = [
        "/leading", "a//b", "a/./b", "a/../b", "./dot", "../up", "x/.", "x/..", "slash//",
      ]
      let reachable = ["a/b", "plain", "x/y"]
      try moto.endpoint.put(
        (unreachable + reachable).map { (Array($0.utf8), Array("<\($0)>".utf8)) }, to: "data")
      let scratch = try TemporaryFolder("unreachable")
      let mount = try MountedMillrace(
        "s3://data", cache: scratch.folder("cache"), environment: moto.endpoint.environment)
      let seen = try CommandResult.check(["find", mount.path, "-type", "f", "-printf", "%P\\n"])
      #expect(seen.output.split(separator: "\n").sorted().map(String.init) == reachable)
      for path in reachable {
        #expect(try readText(mount.path + "/" + path) == "<\(path)>")
      }
      #expect(try mount.stats().number("hiddenNames") > 0)
      try mount.unmount()
    }

    @Test func aFileAndAFolderOfTheSameNameShowTheFolder() throws {
      let moto = try MotoServer.start()
      let keys = ["both", "both-1", "both.txt", "both/inside", "other"]
      try moto.endpoint.put(
        keys.map { (Array($0.utf8), Array("<\($0)>".utf8)) }, to: "data")
      let scratch = try TemporaryFolder("same")
      for listFirst in [true, false] {
        let mount = try MountedMillrace(
          "s3://data", cache: scratch.folder("cache"), environment: moto.endpoint.environment)
        if listFirst {
          let names = try namesIn(mount.path).map { String(decoding: $0, as: UTF8.self) }
          #expect(names == ["both", "both-1", "both.txt", "other"])
        }
        #expect(try statOf(mount.path + "/both").st_mode & S_IFMT == S_IFDIR)
        #expect(try readText(mount.path + "/both/inside") == "<both/inside>")
        #expect(try readText(mount.path + "/both-1") == "<both-1>")
        try mount.unmount()
      }
    }

    @Test func aFolderMarkerIsAFolderAndNoFile() throws {
      let moto = try MotoServer.start()
      try moto.endpoint.put(
        ["empty/", "full/", "full/a"].map { (Array($0.utf8), []) }, to: "data")
      let scratch = try TemporaryFolder("marker")
      let mount = try MountedMillrace(
        "s3://data", cache: scratch.folder("cache"), environment: moto.endpoint.environment)
      #expect(try namesIn(mount.path) == [Array("empty".utf8), Array("full".utf8)])
      #expect(try namesIn(mount.path + "/empty").isEmpty)
      #expect(try namesIn(mount.path + "/full") == [Array("a".utf8)])
      try mount.unmount()
    }

    @Test func inodeNumbersAreTheSameAfterARemount() throws {
      let served = try Backend.seaweedfs.serve()
      func numbers(_ mount: MountedMillrace) throws -> String {
        try CommandResult.check(["find", mount.path, "-printf", "%P %i\\n"]).output
          .split(separator: "\n").sorted().joined(separator: "\n")
      }
      let first = try served.mount()
      let before = try numbers(first)
      try first.unmount()
      let second = try served.mount()
      #expect(try numbers(second) == before)
      try second.unmount()
    }
  }
}

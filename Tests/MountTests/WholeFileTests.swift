import Glibc
import Posix
import TestSupport
import Testing

extension MountTests {
  /// Servers that know no ranges: Python's own.
  @Suite struct WholeFiles {
    @Test(.enabled(if: requireOrSkip(.program("python3"))))
    func aLargeFileOfAServerWithoutRangesIsDownloadedOnce() throws {
      let scratch = try TemporaryFolder("whole")
      var random = SeededGenerator(seed: 4)
      let bytes = (0..<(20 << 20) / 8).map { _ in UInt64.random(in: 0...(.max), using: &random) }
      let file = try bytes.withUnsafeBytes { try scratch.file("site/large", Array($0)) }
      try scratch.file("site/small", text: "small")
      let port = try freePorts(1)[0]
      let server = try ServerProcess(
        ["python3", "-m", "http.server", "\(port)", "--bind", "127.0.0.1"], port: port,
        log: scratch.path("log"), folder: scratch.path("site"))
      defer { server.stop() }
      let mount = try MountedMillrace(
        "http://127.0.0.1:\(port)/", cache: scratch.folder("cache"))
      // By four readers at once, each from another place, and by one from the start.
      let readers = try (0..<4).map { index in
        try ChildProcess([
          "cmp", "-i", "\(index * 4_000_003)", file, mount.path + "/large",
        ])
      }
      for reader in readers { #expect(reader.wait(within: .seconds(120)) == .exited(0)) }
      #expect(try readText(mount.path + "/small") == "small")
      let twice = try mount.stats().sentTwice
      try mount.unmount()
      // Of "large": the question for its size, which is cut off, one or two fetches before it was known
      // that ranges are ignored, and the download.
      let asked = try readText(scratch.path("log")).split(separator: "\n").count {
        $0.contains("GET /large")
      }
      #expect(asked <= 4 + twice, "\(asked) downloads")
    }
  }
}

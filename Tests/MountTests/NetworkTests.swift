import Glibc
import Posix
import TestSupport
import Testing

extension MountTests {
  /// What lies between a mount and its store: limits, proxies, certificates.
  @Suite struct Network {
    private static let count = 30

    /// A site of 30 files of 100 KB.
    private func site(
      tls: Bool = false, wantsCertificate: Bool = false
    ) throws -> (scratch: TemporaryFolder, server: Nginx) {
      let scratch = try TemporaryFolder("network")
      for index in 0..<Self.count {
        try scratch.file("tree/\(index)", text: String(repeating: "\(index % 10)", count: 100_000))
      }
      let server = try Nginx.start(
        root: scratch.path("tree"), tls: tls, wantsCertificate: wantsCertificate)
      return (scratch, server)
    }

    private func readAll(_ mount: MountedMillrace) throws {
      for index in 0..<Self.count {
        let text = try readText("\(mount.path)/\(index)")
        #expect(text.utf8.count == 100_000)
        #expect(text.utf8.first == UInt8(ascii: "0") + UInt8(index % 10))
      }
    }

    /// Seconds that reading everything took.
    private func timeToRead(_ options: [String]) throws -> Double {
      let (scratch, server) = try site()
      defer { withExtendedLifetime(scratch) {} }
      let mount = try MountedMillrace(
        server.url + "/", cache: scratch.path("cache"), options: options, keeping: [server])
      let start = Instant.now
      try readAll(mount)
      let seconds = (Instant.now - start).seconds
      try mount.unmount()
      return seconds
    }

    /// 30 requests at 20 a second, of which two may leave at once; 3 MB at 2 MB/s, of which half a second's
    /// worth may be owed and one request's. A slow machine only makes it longer.
    @Test(
      .enabled(if: requireOrSkip(.servers)),
      arguments: [
        (["--max-requests-per-second", "20"], 1.3), (["--max-bandwidth", "2MB"], 0.8),
      ])
    func aLimitIsKept(options: [String], least: Double) throws {
      #expect(try timeToRead(options) >= least)
    }

    @Test(.enabled(if: requireOrSkip(.servers)))
    func aProxyOfTheEnvironmentIsUsedAndNoProxyHonoured() throws {
      let (scratch, server) = try site()
      for (exception, isUsed) in [("localhost", true), ("127.0.0.1", false)] {
        let proxy = try ForwardProxy()
        let mount = try MountedMillrace(
          server.url + "/", cache: scratch.path("cache-\(isUsed)"),
          environment: ["http_proxy": proxy.url, "no_proxy": exception], keeping: [server])
        try readAll(mount)
        // The mount's own socket is not asked through the proxy.
        #expect(try mount.stats()["reads.filesOpened"] == Self.count)
        try mount.unmount()
        #expect(proxy.requests.count >= (isUsed ? Self.count : 0))
        #expect(isUsed || proxy.requests.isEmpty)
      }
    }

    @Test(.enabled(if: requireOrSkip(.servers)))
    func aCertificateIsShownToAServerThatWantsOne() throws {
      let (scratch, server) = try site(tls: true, wantsCertificate: true)
      let certificate = try #require(server.certificate)
      let key = try #require(server.key)
      let trust = ["--ca-bundle", certificate]
      let mount = try MountedMillrace(
        server.url + "/", cache: scratch.path("cache"),
        options: trust + ["--client-cert", certificate, "--client-key", key], keeping: [server])
      try readAll(mount)
      try mount.unmount()
      let refused = #expect(throws: SupportError.self) {
        try MountedMillrace(server.url + "/", cache: scratch.path("cache"), options: trust)
      }
      #expect(refused?.description.contains("400") == true, "\(String(describing: refused))")
    }
  }
}

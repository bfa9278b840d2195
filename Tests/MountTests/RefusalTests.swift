import Posix
import TestSupport
import Testing

extension MountTests {
  /// What cannot be mounted: one clear line, a non-zero exit, no mount left. `--io-timeout` is ten minutes.
  @Suite struct Refusals {
    /// Runs `millrace mount` in the form that users have and checks how it refuses.
    private func expectRefusal(
      _ source: String, environment: [String: String] = [:], options: [String] = [],
      code: Int32, says words: [String]
    ) throws {
      let scratch = try TemporaryFolder("refused")
      let place = try scratch.folder("mnt")
      defer { Mounts.detach(place) }
      let result = try CommandResult.run(
        [
          Checkout.millrace(), "mount", source, place, "--cache-dir", scratch.folder("cache"),
        ] + options, environment: environment, within: .seconds(90))
      #expect(result.status == .exited(code), "\(source): \(result)")
      #expect(!Mounts.isMounted(place))
      let lines = result.errors.split(separator: "\n")
      #expect(lines.count == 1, "not one line: \(result.errors)")
      #expect(
        words.contains { result.errors.lowercased().contains($0) },
        "none of \(words) in: \(result.errors)")
      #expect(!result.errors.contains(environment["AWS_SECRET_ACCESS_KEY"] ?? "\0"))
    }

    @Test func aBucketThatDoesNotExistIsNamed() throws {
      for endpoint in [
        try SeaweedFS.shared().endpointKeptAlive, try MotoServer.start().endpointKeptAlive,
      ] {
        try expectRefusal(
          "s3://no-such-bucket", environment: endpoint.0.environment,
          code: 3, says: ["no-such-bucket"])
      }
    }

    @Test func wrongKeysAreRefusedAndNeverShown() throws {
      let weed = try SeaweedFS.shared()
      let rclone = try RcloneS3.start()
      for endpoint in [weed.endpoint, rclone.endpoint] {
        try expectRefusal(
          "s3://data",
          environment: endpoint.signing(
            accessKey: endpoint.accessKey, secretKey: "wrong/secret+wrong"
          ).environment,
          code: 4, says: ["key", "signature", "denied"])
        try expectRefusal(
          "s3://data",
          environment: endpoint.signing(
            accessKey: "AKIDNOBODY", secretKey: "wrong/secret+wrong"
          ).environment,
          code: 4, says: ["key", "signature", "denied"])
      }
    }

    @Test func anUnsignedRequestToAPrivateBucketIsDenied() throws {
      let weed = try SeaweedFS.shared()
      try expectRefusal(
        "s3://data",
        environment: ["AWS_ENDPOINT_URL": weed.endpoint.url, "AWS_REGION": "us-east-1"],
        options: ["--no-sign-request"], code: 4, says: ["denied", "key"])
    }

    @Test func anEndpointThatNobodyListensOnIsRefused() throws {
      let port = try freePorts(1)[0]
      let endpoint = S3Endpoint(
        url: "http://127.0.0.1:\(port)", accessKey: "AKID", secretKey: "secret")
      try expectRefusal(
        "s3://data", environment: endpoint.environment, code: 5,
        says: ["127.0.0.1:\(port)", "connect"])
      try expectRefusal(
        "http://127.0.0.1:\(port)/", code: 5, says: ["127.0.0.1:\(port)", "connect"])
    }

    @Test func anEndpointThatNeverAnswersIsGivenUpLongBeforeTheIOTimeout() throws {
      // It accepts and says nothing: the worst kind of unreachable.
      let port = try freePorts(1)[0]
      let scratch = try TemporaryFolder("silent")
      let silent = try ServerProcess(
        [
          "/usr/bin/python3", "-c",
          "import socket,time; s=socket.create_server(('127.0.0.1',\(port))); time.sleep(600)",
        ], port: port, log: scratch.path("log"))
      defer { silent.stop() }
      let endpoint = S3Endpoint(
        url: "http://127.0.0.1:\(port)", accessKey: "AKID", secretKey: "secret")
      try expectRefusal(
        "s3://data", environment: endpoint.environment, code: 5,
        says: ["127.0.0.1:\(port)", "time"])
    }

    @Test func aHostThatDoesNotExistIsNamed() throws {
      try expectRefusal(
        "http://no-such-host.invalid/", code: 5, says: ["no-such-host.invalid"])
    }

    @Test func aSiteWithoutAListingSaysSo() throws {
      let scratch = try TemporaryFolder("bare")
      try scratch.file("tree/a.txt", text: "a")
      let server = try Nginx.start(root: scratch.path("tree"), autoindex: .none)
      try expectRefusal(server.url + "/", code: 4, says: ["list", "denied", "403"])
    }

    @Test func aFolderThatDoesNotExistIsNamed() throws {
      try expectRefusal("file:///no/such/folder", code: 3, says: ["/no/such/folder"])
    }
  }
}

extension SeaweedFS {
  /// The endpoint with what keeps it alive.
  var endpointKeptAlive: (S3Endpoint, any Sendable) { (endpoint, self) }
}

extension MotoServer {
  var endpointKeptAlive: (S3Endpoint, any Sendable) { (endpoint, self) }
}

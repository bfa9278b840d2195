/// An S3 server as its clients see it, and a client for filling it.
///
/// The client is Tests/Tools/s3.py: Python's standard library with its own signatures, several
/// processes at once; so 10,000 small objects take seconds and keys may be any bytes. It shares no
/// code with what is tested.
public struct S3Endpoint: Sendable {
  /// `http://127.0.0.1:PORT`.
  public let url: String
  public let accessKey: String
  public let secretKey: String
  public let region: String

  public init(url: String, accessKey: String, secretKey: String, region: String = "us-east-1") {
    self.url = url
    self.accessKey = accessKey
    self.secretKey = secretKey
    self.region = region
  }

  /// What a program needs in its environment to speak to this server (AWS_ENDPOINT_URL included).
  public var environment: [String: String] {
    [
      "AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": accessKey, "AWS_SECRET_ACCESS_KEY": secretKey,
      "AWS_REGION": region,
    ]
  }

  /// The same server reached by another address, such as a proxy's.
  public func reached(at url: String) -> S3Endpoint {
    S3Endpoint(url: url, accessKey: accessKey, secretKey: secretKey, region: region)
  }

  /// The same server with other keys.
  public func signing(accessKey: String, secretKey: String) -> S3Endpoint {
    S3Endpoint(url: url, accessKey: accessKey, secretKey: secretKey, region: region)
  }

  public func makeBucket(_ bucket: String) throws { try tool(["make-bucket", bucket]) }

  /// Every file under `folder` becomes an object: its path with `prefix` before it.
  public func putTree(_ folder: String, to bucket: String, prefix: String = "") throws {
    try tool(["put-tree", bucket, hex(prefix.utf8), folder], within: .seconds(300))
  }

  public func put(_ bytes: some Collection<UInt8>, to bucket: String, key: some Collection<UInt8>)
    throws
  {
    let scratch = try TemporaryFolder("put")
    try putFile(scratch.file("body", bytes), to: bucket, key: key)
  }

  public func put(_ bytes: some Collection<UInt8>, to bucket: String, key: String) throws {
    try put(bytes, to: bucket, key: key.utf8)
  }

  public func putFile(_ path: String, to bucket: String, key: some Collection<UInt8>) throws {
    try tool(["put", bucket, hex(key), path], within: .seconds(300))
  }

  /// Many objects in one go: each key with its body.
  public func put(_ objects: [(key: [UInt8], body: [UInt8])], to bucket: String) throws {
    let lines = objects.map { "\(hex($0.key)) \(hex($0.body))" }.joined(separator: "\n")
    try tool(["put-lines", bucket], input: lines, within: .seconds(300))
  }

  /// The object's bytes, for small ones; throws where there is none.
  public func get(_ bucket: String, key: some Collection<UInt8>) throws -> [UInt8] {
    let scratch = try TemporaryFolder("get")
    try tool(["get", bucket, hex(key), scratch.path("body")])
    return try readFile(scratch.path("body"))
  }

  public func get(_ bucket: String, key: String) throws -> [UInt8] {
    try get(bucket, key: key.utf8)
  }

  public func delete(_ bucket: String, key: some Collection<UInt8>) throws {
    try tool(["delete", bucket, hex(key)])
  }

  public func delete(_ bucket: String, key: String) throws { try delete(bucket, key: key.utf8) }

  @discardableResult
  private func tool(
    _ arguments: [String], input: String? = nil, within: Duration = .seconds(60)
  ) throws -> CommandResult {
    try CommandResult.check(
      ["/usr/bin/python3", Checkout.tools + "/s3.py"] + arguments, environment: environment,
      input: input, within: within)
  }
}

/// Lower-case hexadecimal digits: how any bytes travel through an argument or a line.
public func hex(_ bytes: some Collection<UInt8>) -> String {
  let digits = Array("0123456789abcdef".utf8)
  return String(
    decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
}

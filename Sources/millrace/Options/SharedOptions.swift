import ArgumentParser

/// The options of `mount`, `run` and `doctor` as they were written. What is absent is looked for in
/// the environment by `Settings`.
struct SharedOptions: ParsableArguments {
  @Option(name: .customLong("endpoint-url"), help: "An S3 server that is not AWS.") var endpointURL:
    String?
  @Option(help: "The bucket's region.") var region: String?
  @Option(help: "Profile of the AWS files; beats keys in the environment.") var profile: String?
  @Flag(help: "Send requests unsigned, for public buckets.") var noSignRequest = false
  @Flag(help: "The bucket in the path of the URL.") var pathStyle = false
  @Flag(help: "The bucket in the host name.") var virtualHost = false
  @Flag(help: "AWS's endpoints with IPv6.") var dualstack = false
  @Flag(help: "AWS's endpoints that keep to FIPS 140.") var fips = false
  @Flag(help: "AWS's transfer acceleration.") var accelerate = false
  @Flag(help: "The requester pays for the bucket's requests and traffic.") var requesterPays = false
  @Option(help: "Account that the bucket must belong to.") var expectedBucketOwner: String?
  @Option(help: "File with the 32 bytes that objects were encrypted with (SSE-C).")
  var sseCustomerKeyFile: String?
  @Option(help: "The tree of a versioned bucket as it was then: 2026-11-20T10:00:00Z, 3h.")
  var at: String?
  @Option(help: "PEM file of certificate authorities.") var caBundle: String?
  @Option(help: "PEM file of the certificate to show to the store.") var clientCert: String?
  @Option(help: "PEM file of its key, if that lies apart.") var clientKey: String?
  @Option(help: "File with a bearer token for web sites and the hub.") var bearerTokenFile: String?
  @Flag(help: "Look for the host's login in ~/.netrc.") var netrc = false
  @Option(help: "The same in another file.") var netrcFile: String?
  @Option(help: "Received a second at most: 200MB, 1GiB.") var maxBandwidth: String?
  @Option(help: "Requests sent a second at most.") var maxRequestsPerSecond: String?
  @Flag(name: .customLong("verify-etag"), help: "Take ETags that look like an MD5 for one.")
  var verifyETag = false
  @Option(help: "List of the files there are: CSV or JSON lines.") var manifest: String?
  @Option(help: "Show the data set as it was: see millrace snapshot.") var snapshot: String?
  @Option(help: "Folder of the cache, or none.") var cacheDir: String?
  @Option(help: "Size of the cache: 200G, 80%.") var cacheSize: String?
  @Option(help: "What goes when the cache is full: epoch keeps a stable part, lru the newest.")
  var eviction: String?
  @Option(help: "Fetch the rest of a data set that is walked: auto, off, always.")
  var fill: String?
  @Option(help: "Bytes filled for each byte that was asked for.") var fillMultiple: String?
  @Option(help: "Fetched ahead of an order's reader: 1G.") var orderWindow: String?
  @Option(help: "Memory for data: 512M, 10%.") var memoryLimit: String?
  @Option(help: "Memory for names: 256M.") var metadataLimit: String?
  @Option(name: .customLong("metadata-ttl"), help: "How old names may be: 60s, 0, forever.")
  var metadataTTL: String?
  @Option(help: "How long a read may wait.") var ioTimeout: String?
  @Flag(help: "Let other users see the mount.") var allowOther = false
  @Flag(help: "file:///DIR: follow links that lead out of DIR.") var followLinks = false
  @Option(help: "Owner shown.") var uid: String?
  @Option(help: "Group shown.") var gid: String?
  @Option(help: "Mode of files, octal.") var fileMode: String?
  @Option(help: "Mode of folders, octal.") var dirMode: String?
  @Flag(help: "Accepted: every mount is read-only for now.") var readOnly = false
  @Flag(help: "Never let the kernel read cache files by itself.") var noPassthrough = false
  @Option(help: "Threads that answer the kernel.") var threads: String?
  @Flag(help: "Mount over what is there.") var nonempty = false
  @Flag(help: "Allow core dumps and debuggers of the daemon: they hold keys and data.")
  var coreDumps = false
  @Flag(help: "Follow redirects and manifests of a public site to private addresses.")
  var allowPrivate = false
  @Option(help: "trace, debug, info, notice, warning, error.") var logLevel: String?
  @Option(help: "Where the log goes.") var logFile: String?
}

import ArgumentParser
import Credentials
import Logging
import Prefetch
import ReadEngine

/// The options of a mount as they were written. `Settings` reads them, and the environment for what is absent.
///
/// `--help` shows them in groups; a title that is used twice is one group.
struct SharedOptions: ParsableArguments {
  @OptionGroup var source: SourceOptions
  @OptionGroup var mount: MountingOptions

  init() {}

  init(_ source: SourceOptions, _ mount: MountingOptions) {
    self.source = source
    self.mount = mount
  }
}

/// What describes a source and its cache: all that `doctor` and `snapshot` need.
struct SourceOptions: ParsableArguments {
  @OptionGroup(title: "Common options") var cache: CacheDirectoryOption
  @OptionGroup(title: "Common options") var common: CommonOptions
  @OptionGroup(title: "Source options") var tree: TreeOptions
  @OptionGroup(title: "Bucket options") var bucket: BucketOptions
  @OptionGroup(title: "TLS and authentication of web sites") var site: SiteOptions
  @OptionGroup(title: "Network limits") var network: NetworkOptions
}

/// What only a mount has.
struct MountingOptions: ParsableArguments {
  @OptionGroup(title: "Common options") var common: CommonMountOptions
  @OptionGroup(title: "Cache and memory") var cache: CacheOptions
  @OptionGroup(title: "Prefetch") var prefetch: PrefetchOptionTexts
  @OptionGroup(title: "Mount options") var mount: MountPointOptions
  @OptionGroup(title: "Logging") var logging: LoggingOptions
}

struct CacheDirectoryOption: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Directory of the cache, on a fast local disk; none: memory only. (default: ~/.cache/millrace; root: /var/cache/millrace)",
      valueName: "dir"), completion: .directory) var cacheDir: String?
}

struct CommonOptions: ParsableArguments {
  @Option(
    name: .customLong("endpoint-url"),
    help: ArgumentHelp(
      "URL of an S3-compatible store. (default: AWS)", valueName: "url"))
  var endpointURL: String?
  @Option(
    help: ArgumentHelp(
      "Region of the bucket. (default: the profile's; else found by a request)",
      valueName: "region")) var region: String?
  @Option(
    help: ArgumentHelp(
      "Profile of the AWS configuration files; overrides credentials in the environment.",
      valueName: "name")) var profile: String?
  @Flag(help: "Send unsigned requests, for public buckets.") var noSignRequest = false
}

struct CommonMountOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Maximum size of the cache, in bytes or of its disk: 200G, 80%. (default: 75%)",
      valueName: "size")) var cacheSize: String?
  @Option(
    help: ArgumentHelp(
      "Prefetch the rest of a data set once a scan is detected; all: everything from the start. (default: auto)",
      valueName: "when")) var prefetch: Choice<FillPolicy>?
  @Flag(help: "Let other users read the mount. (default: only the user who mounts)")
  var allowOther = false
}

struct TreeOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Mount only this directory of SOURCE; the same as SOURCE/PREFIX.", valueName: "prefix"))
  var prefix: String?
  @Option(
    help: ArgumentHelp(
      "List of the files, CSV or JSON lines, in place of listings.", valueName: "file-or-url"),
    completion: .file()) var manifest: String?
  @Option(
    help: ArgumentHelp(
      "Mount the data set as it was; see millrace snapshot.", valueName: "name"))
  var snapshot: String?
  @Flag(help: "file:///DIR: follow symbolic links that lead out of DIR.") var followLinks = false
  @Flag(help: "Follow redirects and manifests of a public site to private addresses.")
  var allowPrivate = false
}

struct BucketOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Versioned bucket: the tree at this time, such as 2026-11-20T10:00:00Z or 3h (ago).",
      valueName: "time")) var at: String?
  @Flag(help: "Path-style addressing: https://HOST/BUCKET. (default: for stores other than AWS)")
  var pathStyle = false
  @Flag(help: "Virtual-hosted addressing: https://BUCKET.HOST. (default: for AWS)")
  var virtualHost = false
  @Flag(help: "AWS: dual-stack endpoints (IPv6).") var dualstack = false
  @Flag(help: "AWS: FIPS 140 endpoints.") var fips = false
  @Flag(help: "AWS: transfer acceleration.") var accelerate = false
  @Flag(help: "The requester pays for requests and traffic.") var requesterPays = false
  @Option(
    help: ArgumentHelp("AWS account that must own the bucket.", valueName: "account"))
  var expectedBucketOwner: String?
  @Option(
    help: ArgumentHelp("File with the 32-byte key of SSE-C objects.", valueName: "file"),
    completion: .file()) var sseCustomerKeyFile: String?
  @Flag(
    name: .customLong("verify-etag"),
    help: "Verify objects whose ETag looks like an MD5 against it.") var verifyETag = false
}

struct SiteOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Certificate authorities to trust, PEM. (default: the system's)", valueName: "file"),
    completion: .file()) var caBundle: String?
  @Option(
    help: ArgumentHelp("Client certificate, PEM.", valueName: "file"), completion: .file())
  var clientCert: String?
  @Option(
    help: ArgumentHelp(
      "Private key of the client certificate, PEM. (default: in the certificate's file)",
      valueName: "file"), completion: .file()) var clientKey: String?
  @Option(
    help: ArgumentHelp(
      "Bearer token for a web site or Hugging Face.", valueName: "file"), completion: .file())
  var bearerTokenFile: String?
  @Flag(help: "Read the user name and password of a web site from ~/.netrc.") var netrc = false
  @Option(
    help: ArgumentHelp(
      "Read the user name and password from this netrc file.", valueName: "file"),
    completion: .file()) var netrcFile: String?
}

struct NetworkOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Maximum bandwidth, in bytes a second: 200MB, 1GiB. (default: unlimited)",
      valueName: "size")) var maxBandwidth: String?
  @Option(
    help: ArgumentHelp(
      "Maximum rate of requests. (default: unlimited)", valueName: "number"))
  var maxRequestsPerSecond: String?
  @Option(
    help: ArgumentHelp(
      "Time after which a request that still waits for the store fails with EIO. (default: 10m)",
      valueName: "time")) var ioTimeout: String?
}

struct CacheOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Space of the cache's disk that stays free: 10%, 50G. (default: 10%)", valueName: "size"))
  var cacheMinFree: String?
  @Option(
    help: ArgumentHelp(
      "What a full cache keeps; epoch: a stable part of the data set, lru: the files used last. (default: epoch)",
      valueName: "policy")) var eviction: Choice<EvictionPolicy>?
  @Option(
    help: ArgumentHelp(
      "Memory for data: 512M, 10%. (default: 1/8 of the memory, 64M to 2G)", valueName: "size"))
  var memoryLimit: String?
  @Option(
    help: ArgumentHelp(
      "Memory for metadata. (default: 1/16 of the memory, 32M to 512M)", valueName: "size"))
  var metadataLimit: String?
  @Option(
    name: .customLong("metadata-ttl"),
    help: ArgumentHelp(
      "Maximum age of cached metadata: 60s, 0, forever. (default: 60s)", valueName: "time"))
  var metadataTTL: String?
}

struct PrefetchOptionTexts: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Prefetched bytes for each byte that is read, at most, 1x to 1000x. (default: 16x)",
      valueName: "multiple")) var prefetchBudget: String?
  @Option(
    help: ArgumentHelp(
      "Bytes prefetched ahead of the readers of an order. (default: 1G, at most 1/4 of the cache)",
      valueName: "size")) var prefetchWindow: String?
}

struct MountPointOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Owner of all files. (default: the user)", valueName: "number"))
  var uid: String?
  @Option(help: ArgumentHelp("Group of all files. (default: the user's)", valueName: "number"))
  var gid: String?
  @Option(
    help: ArgumentHelp("Permission bits of files, octal. (default: 0444)", valueName: "mode"))
  var fileMode: String?
  @Option(
    help: ArgumentHelp("Permission bits of directories, octal. (default: 0555)", valueName: "mode")
  ) var dirMode: String?
  @Flag(help: "Mount over a directory that is not empty.") var nonempty = false
  @Flag(help: "Disable passthrough: the kernel then reads no cache file directly.")
  var noPassthrough = false
  @Option(
    help: ArgumentHelp(
      "Threads that serve the kernel's requests. (default: 2)", valueName: "number"))
  var threads: String?
  @Flag(help: "Has no effect: every mount is read-only.") var readOnly = false
  @Flag(help: "Allow core dumps and debuggers of the daemon, which holds credentials and data.")
  var coreDumps = false
}

struct LoggingOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Least severity that is logged; debug: each FUSE operation and each request. (default: notice)",
      valueName: "level")) var logLevel: Choice<Logger.Level>?
  @Option(
    help: ArgumentHelp(
      "Log file. (default: in /run/millrace, see millrace list; --foreground: standard error)",
      valueName: "file"), completion: .file()) var logFile: String?
}

/// The text of an option that takes one of a few words, which help and completion show. `OptionValues` reads it: its
/// errors are the same for an option and its environment variable.
struct Choice<Value: RawRepresentable & CaseIterable>: ExpressibleByArgument
where Value.RawValue == String {
  var text: String

  init?(argument: String) { text = argument }

  static var allValueStrings: [String] { Value.allCases.map(\.rawValue) }
  static var defaultCompletionKind: CompletionKind { .list(allValueStrings) }
}

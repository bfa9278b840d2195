import Credentials
import Glibc
import Transport

/// Everything a mount goes by, checked: option, else MILLRACE_ variable, else default.
///
/// In parts, each of which checks its own options. Options are checked in the order of the parts below: the first that
/// is wrong is the one that is reported.
struct Settings {
  var source: SourceAddress
  var sourceText: String
  var access: Access
  var bucket: Bucket
  var site: Site
  var rates: Rates
  var content: Content
  var cache: Cache
  var prefetch: Prefetching
  var limits: Limits
  var presentation: Presentation
  var serving: Serving
  var log: Log

  var environment: [String: String]
  /// Option and path of files that others should not be able to read.
  var secretFiles: [(option: String, path: String)] = []
  /// What in the environment looks like an option and is none.
  var warnings: [String] = []

  init(
    source text: String, options: SharedOptions, environment: [String: String],
    memory: UInt64 = Machine.memory()
  ) throws(Failure) {
    let environment = Variables.withAbsolutePaths(environment)
    let values = OptionValues(environment: environment)
    sourceText = SourceAddress.joined(text, values.text("prefix", options.source.tree.prefix))
    source = try SourceAddress(sourceText).absolute
    self.environment = environment
    access = try Access(options, values)
    bucket = try Bucket(options, values)
    site = try Site(options, values, environment)
    rates = try Rates(options, values)
    content = try Content(options, values)
    let folder = try Cache.folder(options.source.cache, environment)
    try Settings.checkFrozen(source, bucket.at, content, folder)
    cache = try Cache(folder: folder, options, values)
    prefetch = try Prefetching(options, values, memory: memory)
    limits = try Limits(options, values, memory: memory)
    presentation = try Presentation(options, values, of: source)
    serving = try Serving(options, values)
    log = try Log(options, values)
    let secrets = [
      ("bearer-token-file", site.bearerTokenFile), ("client-key", site.clientKey),
      (
        "sse-customer-key-file",
        values.text("sse-customer-key-file", options.source.bucket.sseCustomerKeyFile)
      ),
    ]
    secretFiles = secrets.compactMap { option, path in path.map { (option, $0) } }
    warnings = Variables.warnings(environment)
  }

  /// What says which files there are, beside the store: one thing at most.
  private static func checkFrozen(
    _ source: SourceAddress, _ at: Int64?, _ content: Content, _ cacheFolder: String?
  ) throws(Failure) {
    let (snapshot, manifest) = (content.snapshot, content.manifest)
    if at != nil {
      guard case .bucket = source else {
        throw .usage("--at needs a bucket as source: other stores keep no versions")
      }
      if snapshot != nil || manifest != nil {
        throw .usage("--at, --snapshot and --manifest are mutually exclusive")
      }
    }
    if snapshot != nil, manifest != nil {
      throw .usage("--snapshot and --manifest are mutually exclusive")
    }
    if snapshot != nil, cacheFolder == nil {
      throw .usage(
        "--snapshot needs a cache directory; it cannot be combined with --cache-dir none")
    }
  }

  /// Certificate authorities of a source that is no bucket.
  var siteCABundle: String? { access.caBundle ?? CredentialsResolver.commonCABundle(environment) }

  /// Bytes that listings may hold as they arrive, before they are read.
  var answerLimit: Int { max(BodyBudget.leastLimit, limits.metadata / 4) }

  /// The cache folder where there is one, else the system's for what is large and short-lived.
  var spoolFolder: String {
    if let folder = cache.folder, FileStatus(of: folder)?.isFolder == true { return folder }
    return environment["TMPDIR"].flatMap { $0.hasPrefix("/") ? $0 : nil } ?? "/var/tmp"
  }
}

extension Settings {
  /// For commands of a terminal; a daemon logs them.
  func printWarnings() {
    for warning in warnings { Output.complain("warning: \(warning)") }
  }
}

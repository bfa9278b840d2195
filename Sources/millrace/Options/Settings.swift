import Credentials
import FuseFrontEnd
import Glibc
import Logging
import Prefetch
import ReadEngine
import Transport

/// Everything a mount goes by, checked: option, else MILLRACE_ variable, else default.
struct Settings {
  var source: SourceAddress
  var sourceText: String

  var endpointURL: String?
  var region: String?
  var profile: String?
  var noSignRequest: Bool
  var pathStyle: Bool?
  var caBundle: String?
  var usesDualStack: Bool
  var usesFIPS: Bool
  var accelerates: Bool
  var requesterPays: Bool
  var expectedBucketOwner: String?
  /// 32 bytes; a secret.
  var customerKey: [UInt8]?
  /// Seconds since 1970.
  var at: Int64?
  var bearerTokenFile: String?
  /// nil: not wanted.
  var netrcFile: String?
  /// Its usual place, where there need be none.
  var netrcIsOptional = false
  var clientCertificate: String?
  var clientKey: String?
  /// Bytes a second; nil: no limit.
  var maxBandwidth: Int?
  var maxRequestsPerSecond: Double?
  var verifiesETag: Bool
  var manifest: String?
  var snapshot: String?

  /// nil: memory alone.
  var cacheFolder: String?
  var cacheSize: ByteSize
  var eviction: EvictionPolicy
  /// Of the cache's disk, left free: the cache shrinks before less than this is available.
  var cacheMinFree: ByteSize
  var prefetch: FillPolicy
  /// Prefetched bytes for each byte that was read; nil: the default.
  var prefetchBudget: Double?
  /// Bytes; nil: what the cache allows.
  var prefetchWindow: UInt64?
  var memoryLimit: Int
  var metadataLimit: Int
  var metadataTTL: Duration
  var ioTimeout: Duration

  var allowOther: Bool
  var owner: UInt32
  var group: UInt32
  var fileMode: UInt32
  var folderMode: UInt32
  /// nil: owner and modes are those above. A folder that other users see keeps the source's where none are given.
  var sourceAccess: SourceAccess?
  var followsLinks: Bool
  var threads: Int
  var nonempty: Bool
  var allowsCoreDumps: Bool
  /// Addresses of private networks are followed from a public site.
  var allowsPrivate: Bool
  var noPassthrough: Bool

  var logLevel: Logger.Level
  var logFile: String?
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
    endpointURL = try values.url("endpoint-url", options.source.common.endpointURL)
    region = values.text("region", options.source.common.region)
    profile = values.text("profile", options.source.common.profile)
    noSignRequest = try values.flag("no-sign-request", options.source.common.noSignRequest)
    pathStyle = try Settings.pathStyle(options, values)
    caBundle = try values.file("ca-bundle", options.source.site.caBundle)
    usesDualStack = try values.flag("dualstack", options.source.bucket.dualstack)
    usesFIPS = try values.flag("fips", options.source.bucket.fips)
    accelerates = try values.flag("accelerate", options.source.bucket.accelerate)
    requesterPays = try values.flag("requester-pays", options.source.bucket.requesterPays)
    expectedBucketOwner = values.text(
      "expected-bucket-owner", options.source.bucket.expectedBucketOwner)
    if let owner = expectedBucketOwner, owner.utf8.count != 12 || !owner.utf8.allSatisfy(isDigit) {
      throw .usage("--expected-bucket-owner '\(oneLine(owner))': an account has twelve digits")
    }
    customerKey = try Settings.customerKey(options, values)
    at = try values.moment("at", options.source.bucket.at)
    bearerTokenFile = try values.file("bearer-token-file", options.source.site.bearerTokenFile)
    netrcFile = try values.file("netrc-file", options.source.site.netrcFile)
    if netrcFile == nil, try values.flag("netrc", options.source.site.netrc) {
      netrcFile =
        environment["NETRC"].flatMap { $0.isEmpty ? nil : $0 } ?? (environment["HOME"] ?? "")
        + "/.netrc"
      netrcIsOptional = true
    }
    clientCertificate = try values.file("client-cert", options.source.site.clientCert)
    clientKey = try values.file("client-key", options.source.site.clientKey)
    if clientKey != nil, clientCertificate == nil {
      throw .usage("--client-key needs --client-cert")
    }
    maxBandwidth = try Settings.bandwidth(options, values)
    maxRequestsPerSecond = try values.number(
      "max-requests-per-second", options.source.network.maxRequestsPerSecond, 1...1_000_000
    ).map(Double.init)
    verifiesETag = try values.flag("verify-etag", options.source.bucket.verifyETag)
    manifest = values.text("manifest", options.source.tree.manifest).map {
      $0.contains("://") ? $0 : absolutePath($0)
    }
    snapshot = values.text("snapshot", options.source.tree.snapshot)
    cacheFolder = try Settings.cacheFolder(options.source.cache, environment)
    try Settings.checkFrozen(source, at, snapshot: snapshot, manifest: manifest, cacheFolder)
    cacheSize = try values.size("cache-size", options.mount.common.cacheSize) ?? .percent(75)
    eviction = try values.choice("eviction", options.mount.cache.eviction) ?? .epoch
    cacheMinFree =
      try values.size("cache-min-free", options.mount.cache.cacheMinFree) ?? .percent(10)
    prefetch = try values.choice("prefetch", options.mount.common.prefetch) ?? .auto
    prefetchBudget = try values.multiple(
      "prefetch-budget", options.mount.prefetch.prefetchBudget, 1...1000)
    prefetchWindow = try values.size("prefetch-window", options.mount.prefetch.prefetchWindow)?
      .resolved(
        of: memory)
    let data = try values.size("memory-limit", options.mount.cache.memoryLimit)?.resolved(
      of: memory)
    memoryLimit = try Settings.limit(
      "memory-limit", data ?? min(max(memory / 8, 64 << 20), 2 << 30), least: 16 << 20)
    let names = try values.size("metadata-limit", options.mount.cache.metadataLimit)?.resolved(
      of: memory)
    metadataLimit = try Settings.limit(
      "metadata-limit", names ?? min(max(memory / 16, 32 << 20), 512 << 20), least: 1 << 20)
    metadataTTL =
      try values.duration("metadata-ttl", options.mount.cache.metadataTTL) ?? .seconds(60)
    ioTimeout = try values.duration("io-timeout", options.source.network.ioTimeout) ?? .seconds(600)
    if ioTimeout <= .zero || ioTimeout > .seconds(86_400) {
      throw .usage("--io-timeout: expected a time from 1ms to 1d")
    }
    allowOther = try values.flag("allow-other", options.mount.common.allowOther)
    let uid = try values.number("uid", options.mount.mount.uid, 0...UInt32.max - 1)
    let gid = try values.number("gid", options.mount.mount.gid, 0...UInt32.max - 1)
    let fileModeGiven = try values.mode("file-mode", options.mount.mount.fileMode)
    let folderModeGiven = try values.mode("dir-mode", options.mount.mount.dirMode)
    owner = uid ?? getuid()
    group = gid ?? getgid()
    fileMode = fileModeGiven ?? 0o444
    folderMode = folderModeGiven ?? 0o555
    if allowOther, case .folder = source {
      sourceAccess = SourceAccess(
        owner: uid == nil, group: gid == nil, fileMode: fileModeGiven == nil,
        folderMode: folderModeGiven == nil)
    }
    followsLinks = try values.flag("follow-links", options.source.tree.followLinks)
    _ = try values.flag("read-only", options.mount.mount.readOnly)
    threads = Int(try values.number("threads", options.mount.mount.threads, 1...64) ?? 2)
    nonempty = try values.flag("nonempty", options.mount.mount.nonempty)
    noPassthrough = try values.flag("no-passthrough", options.mount.mount.noPassthrough)
    allowsCoreDumps = try values.flag("core-dumps", options.mount.mount.coreDumps)
    allowsPrivate = try values.flag("allow-private", options.source.tree.allowPrivate)
    logLevel = try values.choice("log-level", options.mount.logging.logLevel) ?? .notice
    logFile = values.text("log-file", options.mount.logging.logFile).map(absolutePath)
    let secrets = [
      ("bearer-token-file", bearerTokenFile), ("client-key", clientKey),
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
    _ source: SourceAddress, _ at: Int64?, snapshot: String?, manifest: String?,
    _ cacheFolder: String?
  ) throws(Failure) {
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

  /// nil: none is wanted.
  static func cacheFolder(
    _ option: CacheDirectoryOption, _ environment: [String: String]
  ) throws(Failure) -> String? {
    let given = OptionValues(environment: environment).text("cache-dir", option.cacheDir)
    let folder: String
    if let given { folder = given } else { folder = try defaultCache(environment) }
    return folder == "none" ? nil : absolutePath(folder)
  }

  private static func customerKey(
    _ options: SharedOptions, _ values: OptionValues
  ) throws(Failure) -> [UInt8]? {
    guard
      let path = try values.file("sse-customer-key-file", options.source.bucket.sseCustomerKeyFile)
    else {
      return nil
    }
    guard let key = CustomerKeyFile.read(path) else {
      throw .usage("--sse-customer-key-file \(path): expected 32 bytes, plain or in base64")
    }
    return key
  }

  private static func bandwidth(
    _ options: SharedOptions, _ values: OptionValues
  ) throws(Failure) -> Int? {
    switch try values.size("max-bandwidth", options.source.network.maxBandwidth) {
    case nil: return nil
    case .percent: throw .usage("--max-bandwidth: expected bytes a second, such as 200MB")
    case .bytes(let rate):
      // Less would not bring one block of a file within --io-timeout.
      guard rate >= 64 << 10 else {
        throw .usage(
          "--max-bandwidth: \(ByteSize.show(rate)) a second is too low; the minimum is 64 KiB")
      }
      return Int(clamping: rate)
    }
  }

  /// Certificate authorities of a source that is no bucket.
  var siteCABundle: String? { caBundle ?? CredentialsResolver.commonCABundle(environment) }

  /// Bytes that listings may hold as they arrive, before they are read.
  var answerLimit: Int { max(BodyBudget.leastLimit, metadataLimit / 4) }

  /// The cache folder where there is one, else the system's for what is large and short-lived.
  var spoolFolder: String {
    if let cacheFolder, FileStatus(of: cacheFolder)?.isFolder == true { return cacheFolder }
    return environment["TMPDIR"].flatMap { $0.hasPrefix("/") ? $0 : nil } ?? "/var/tmp"
  }

  private static func pathStyle(_ options: SharedOptions, _ values: OptionValues) throws(Failure)
    -> Bool?
  {
    if options.source.bucket.pathStyle && options.source.bucket.virtualHost {
      throw .usage("--path-style and --virtual-host are mutually exclusive")
    }
    if options.source.bucket.pathStyle { return true }
    if options.source.bucket.virtualHost { return false }
    let path = try values.optionalFlag("path-style")
    let virtualHost = try values.optionalFlag("virtual-host")
    if let path, path == virtualHost {
      throw .usage(
        "MILLRACE_PATH_STYLE and MILLRACE_VIRTUAL_HOST are mutually exclusive; unset one of them")
    }
    return path ?? virtualHost.map { !$0 }
  }

  private static func limit(_ name: String, _ bytes: UInt64, least: UInt64) throws(Failure) -> Int {
    guard bytes >= least else {
      throw .usage(
        "--\(name): \(ByteSize.show(bytes)) is too low; the minimum is \(ByteSize.show(least))")
    }
    return Int(clamping: bytes)
  }

  /// XDG_CACHE_HOME or the home folder of the environment, else that of the user's account: never a folder of all users
  /// like /tmp, where another one could have made it first.
  private static func defaultCache(_ environment: [String: String]) throws(Failure) -> String {
    if geteuid() == 0 { return "/var/cache/millrace" }
    if let cache = environment["XDG_CACHE_HOME"], cache.hasPrefix("/") {
      return cache + "/millrace"
    }
    let given = environment["HOME"].flatMap { $0.hasPrefix("/") ? $0 : nil }
    guard let home = given ?? Account.home(of: getuid()) else {
      throw .usage(
        "--cache-dir: user \(getuid()) has no home directory and HOME is not set; give the cache's directory, "
          + "or none")
    }
    return home + "/.cache/millrace"
  }
}

extension Settings {
  /// For commands of a terminal; a daemon logs them.
  func printWarnings() {
    for warning in warnings { Output.complain("warning: \(warning)") }
  }
}

private func isDigit(_ byte: UInt8) -> Bool { byte > 47 && byte < 58 }

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
  var fill: FillPolicy
  var fillMultiple: Double?
  /// Bytes; nil: what the cache allows.
  var orderWindow: UInt64?
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

  init(
    source text: String, options: SharedOptions, environment: [String: String],
    memory: UInt64 = Machine.memory()
  ) throws(Failure) {
    let values = OptionValues(environment: environment)
    source = try SourceAddress(text)
    sourceText = text
    self.environment = environment
    endpointURL = try values.url("endpoint-url", options.endpointURL)
    region = values.text("region", options.region)
    profile = values.text("profile", options.profile)
    noSignRequest = try values.flag("no-sign-request", options.noSignRequest)
    pathStyle = try Settings.pathStyle(options, values)
    caBundle = try values.file("ca-bundle", options.caBundle)
    usesDualStack = try values.flag("dualstack", options.dualstack)
    usesFIPS = try values.flag("fips", options.fips)
    accelerates = try values.flag("accelerate", options.accelerate)
    requesterPays = try values.flag("requester-pays", options.requesterPays)
    expectedBucketOwner = values.text("expected-bucket-owner", options.expectedBucketOwner)
    if let owner = expectedBucketOwner,
      owner.utf8.count != 12 || !owner.utf8.allSatisfy({ $0 > 47 && $0 < 58 })
    {
      throw .usage("--expected-bucket-owner '\(oneLine(owner))': an account has twelve digits")
    }
    customerKey = try Settings.customerKey(options, values)
    at = try values.moment("at", options.at)
    bearerTokenFile = try values.file("bearer-token-file", options.bearerTokenFile)
    netrcFile = try values.file("netrc-file", options.netrcFile)
    if netrcFile == nil, try values.flag("netrc", options.netrc) {
      netrcFile =
        environment["NETRC"].flatMap { $0.isEmpty ? nil : $0 } ?? (environment["HOME"] ?? "")
        + "/.netrc"
      netrcIsOptional = true
    }
    clientCertificate = try values.file("client-cert", options.clientCert)
    clientKey = try values.file("client-key", options.clientKey)
    if clientKey != nil, clientCertificate == nil {
      throw .usage("--client-key is the key of a --client-cert, which is missing")
    }
    maxBandwidth = try Settings.bandwidth(options, values)
    maxRequestsPerSecond = try values.number(
      "max-requests-per-second", options.maxRequestsPerSecond, 1...1_000_000
    ).map(Double.init)
    verifiesETag = try values.flag("verify-etag", options.verifyETag)
    manifest = values.text("manifest", options.manifest).map {
      $0.contains("://") ? $0 : absolutePath($0)
    }
    snapshot = values.text("snapshot", options.snapshot)
    cacheFolder = try Settings.cacheFolder(options, environment)
    if at != nil {
      guard case .bucket = source else { throw .usage("--at: only buckets keep versions") }
      if snapshot != nil || manifest != nil {
        throw .usage("--at excludes --snapshot and --manifest: each says what there is")
      }
    }
    if snapshot != nil, manifest != nil {
      throw .usage("--snapshot and --manifest exclude each other: each says what there is")
    }
    if snapshot != nil, cacheFolder == nil {
      throw .usage("--snapshot: snapshots lie in the cache folder, so not with --cache-dir none")
    }
    cacheSize = try values.size("cache-size", options.cacheSize) ?? .percent(75)
    eviction = try values.choice("eviction", options.eviction) ?? .epoch
    fill = try values.choice("fill", options.fill) ?? .auto
    fillMultiple = try values.number("fill-multiple", options.fillMultiple, 1...1000).map(
      Double.init)
    orderWindow = try values.size("order-window", options.orderWindow)?.resolved(of: memory)
    let data = try values.size("memory-limit", options.memoryLimit)?.resolved(of: memory)
    memoryLimit = try Settings.limit(
      "memory-limit", data ?? min(max(memory / 8, 64 << 20), 2 << 30), least: 16 << 20)
    let names = try values.size("metadata-limit", options.metadataLimit)?.resolved(of: memory)
    metadataLimit = try Settings.limit(
      "metadata-limit", names ?? min(max(memory / 16, 32 << 20), 512 << 20), least: 1 << 20)
    metadataTTL = try values.duration("metadata-ttl", options.metadataTTL) ?? .seconds(60)
    ioTimeout = try values.duration("io-timeout", options.ioTimeout) ?? .seconds(60)
    if ioTimeout <= .zero || ioTimeout > .seconds(86_400) {
      throw .usage("--io-timeout: every wait ends; give 1ms to 1d")
    }
    allowOther = try values.flag("allow-other", options.allowOther)
    let uid = try values.number("uid", options.uid, 0...UInt32.max - 1)
    let gid = try values.number("gid", options.gid, 0...UInt32.max - 1)
    let fileModeGiven = try values.mode("file-mode", options.fileMode)
    let folderModeGiven = try values.mode("dir-mode", options.dirMode)
    owner = uid ?? getuid()
    group = gid ?? getgid()
    fileMode = fileModeGiven ?? 0o444
    folderMode = folderModeGiven ?? 0o555
    if allowOther, case .folder = source {
      sourceAccess = SourceAccess(
        owner: uid == nil, group: gid == nil, fileMode: fileModeGiven == nil,
        folderMode: folderModeGiven == nil)
    }
    followsLinks = try values.flag("follow-links", options.followLinks)
    _ = try values.flag("read-only", options.readOnly)
    threads = Int(try values.number("threads", options.threads, 1...64) ?? 2)
    nonempty = try values.flag("nonempty", options.nonempty)
    noPassthrough = try values.flag("no-passthrough", options.noPassthrough)
    allowsCoreDumps = try values.flag("core-dumps", options.coreDumps)
    allowsPrivate = try values.flag("allow-private", options.allowPrivate)
    let level = values.text("log-level", options.logLevel) ?? "notice"
    guard let logLevel = Logger.Level(rawValue: level.lowercased()) else {
      throw .usage("--log-level '\(level)': one of trace, debug, info, notice, warning, error")
    }
    self.logLevel = logLevel
    logFile = values.text("log-file", options.logFile).map(absolutePath)
    let secrets = [
      ("bearer-token-file", bearerTokenFile), ("client-key", clientKey),
      ("sse-customer-key-file", values.text("sse-customer-key-file", options.sseCustomerKeyFile)),
    ]
    secretFiles = secrets.compactMap { option, path in path.map { (option, $0) } }
  }

  /// nil: none is wanted.
  static func cacheFolder(
    _ options: SharedOptions, _ environment: [String: String]
  ) throws(Failure) -> String? {
    let given = OptionValues(environment: environment).text("cache-dir", options.cacheDir)
    let folder: String
    if let given { folder = given } else { folder = try defaultCache(environment) }
    return folder == "none" ? nil : absolutePath(folder)
  }

  private static func customerKey(
    _ options: SharedOptions, _ values: OptionValues
  ) throws(Failure) -> [UInt8]? {
    guard let path = try values.file("sse-customer-key-file", options.sseCustomerKeyFile) else {
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
    switch try values.size("max-bandwidth", options.maxBandwidth) {
    case nil: return nil
    case .percent: throw .usage("--max-bandwidth: bytes a second, such as 200MB")
    case .bytes(let rate):
      // Less would not bring one block of a file within --io-timeout.
      guard rate >= 64 << 10 else {
        throw .usage(
          "--max-bandwidth: \(ByteSize.show(rate)) a second is too little; at least 64 KiB")
      }
      return Int(clamping: rate)
    }
  }

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
    if options.pathStyle && options.virtualHost {
      throw .usage("--path-style and --virtual-host exclude each other")
    }
    if options.pathStyle { return true }
    if options.virtualHost { return false }
    return values.text("path-style", nil) == nil ? nil : try values.flag("path-style", false)
  }

  private static func limit(_ name: String, _ bytes: UInt64, least: UInt64) throws(Failure) -> Int {
    guard bytes >= least else {
      throw .usage(
        "--\(name): \(ByteSize.show(bytes)) is too little; at least \(ByteSize.show(least))")
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
        "--cache-dir: this user (uid \(getuid())) has no home folder and HOME is not set; "
          + "name a folder for the cache, or none")
    }
    return home + "/.cache/millrace"
  }
}

import FuseFrontEnd
import Glibc
import Logging
import Prefetch
import ReadEngine

/// What the options say of the mount.
extension Settings {
  /// The cache on disk.
  struct Cache {
    /// nil: memory alone.
    var folder: String?
    var size: ByteSize
    var eviction: EvictionPolicy
    /// Of the cache's disk, left free: the cache shrinks before less than this is available.
    var minFree: ByteSize

    init(folder: String?, _ options: SharedOptions, _ values: OptionValues) throws(Failure) {
      self.folder = folder
      size = try values.size("cache-size", options.mount.common.cacheSize) ?? .percent(75)
      eviction = try values.choice("eviction", options.mount.cache.eviction) ?? .epoch
      minFree = try values.size("cache-min-free", options.mount.cache.cacheMinFree) ?? .percent(10)
    }

    /// nil: none is wanted.
    static func folder(
      _ option: CacheDirectoryOption, _ environment: [String: String]
    ) throws(Failure) -> String? {
      let given = OptionValues(environment: environment).text("cache-dir", option.cacheDir)
      let folder: String
      if let given { folder = given } else { folder = try defaultCache(environment) }
      return folder == "none" ? nil : absolutePath(folder)
    }

    /// XDG_CACHE_HOME or the home folder of the environment, else that of the user's account: never a folder of all
    /// users like /tmp, where another one could have made it first.
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

  /// What is fetched before it is read.
  struct Prefetching {
    var policy: FillPolicy
    /// Prefetched bytes for each byte that was read; nil: the default.
    var budget: Double?
    /// Bytes; nil: what the cache allows.
    var window: UInt64?

    init(_ options: SharedOptions, _ values: OptionValues, memory: UInt64) throws(Failure) {
      policy = try values.choice("prefetch", options.mount.common.prefetch) ?? .auto
      budget = try values.multiple(
        "prefetch-budget", options.mount.prefetch.prefetchBudget, 1...1000)
      window = try values.size("prefetch-window", options.mount.prefetch.prefetchWindow)?
        .resolved(of: memory)
    }
  }

  /// Memory, bytes, and times.
  struct Limits {
    var memory: Int
    var metadata: Int
    var metadataTTL: Duration
    var ioTimeout: Duration

    init(
      _ options: SharedOptions, _ values: OptionValues, memory machine: UInt64
    ) throws(Failure) {
      let given = options.mount.cache
      let data = try values.size("memory-limit", given.memoryLimit)?.resolved(of: machine)
      memory = try Self.limit(
        "memory-limit", data ?? min(max(machine / 8, 64 << 20), 2 << 30), least: 16 << 20)
      let names = try values.size("metadata-limit", given.metadataLimit)?.resolved(of: machine)
      metadata = try Self.limit(
        "metadata-limit", names ?? min(max(machine / 16, 32 << 20), 512 << 20), least: 1 << 20)
      metadataTTL = try values.duration("metadata-ttl", given.metadataTTL) ?? .seconds(60)
      ioTimeout =
        try values.duration("io-timeout", options.source.network.ioTimeout) ?? .seconds(600)
      if ioTimeout <= .zero || ioTimeout > .seconds(86_400) {
        throw .usage("--io-timeout: expected a time from 1ms to 1d")
      }
    }

    private static func limit(_ name: String, _ bytes: UInt64, least: UInt64) throws(Failure) -> Int
    {
      guard bytes >= least else {
        throw .usage(
          "--\(name): \(ByteSize.show(bytes)) is too low; the minimum is \(ByteSize.show(least))")
      }
      return Int(clamping: bytes)
    }
  }

  /// Who may see the files, and as whose.
  struct Presentation {
    var allowOther: Bool
    var owner: UInt32
    var group: UInt32
    var fileMode: UInt32
    var folderMode: UInt32
    /// nil: owner and modes are those above. A folder that other users see keeps the source's where none are given.
    var sourceAccess: SourceAccess?
    var followsLinks: Bool

    init(
      _ options: SharedOptions, _ values: OptionValues, of source: SourceAddress
    ) throws(Failure) {
      let given = options.mount.mount
      allowOther = try values.flag("allow-other", options.mount.common.allowOther)
      let uid = try values.number("uid", given.uid, 0...UInt32.max - 1)
      let gid = try values.number("gid", given.gid, 0...UInt32.max - 1)
      let fileModeGiven = try values.mode("file-mode", given.fileMode)
      let folderModeGiven = try values.mode("dir-mode", given.dirMode)
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
    }
  }

  /// How the daemon serves.
  struct Serving {
    var threads: Int
    var nonempty: Bool
    var noPassthrough: Bool
    var allowsCoreDumps: Bool
    /// Addresses of private networks are followed from a public site.
    var allowsPrivate: Bool

    init(_ options: SharedOptions, _ values: OptionValues) throws(Failure) {
      let given = options.mount.mount
      _ = try values.flag("read-only", given.readOnly)
      threads = Int(try values.number("threads", given.threads, 1...64) ?? 2)
      nonempty = try values.flag("nonempty", given.nonempty)
      noPassthrough = try values.flag("no-passthrough", given.noPassthrough)
      allowsCoreDumps = try values.flag("core-dumps", given.coreDumps)
      allowsPrivate = try values.flag("allow-private", options.source.tree.allowPrivate)
    }
  }

  struct Log {
    var level: Logger.Level
    var file: String?

    init(_ options: SharedOptions, _ values: OptionValues) throws(Failure) {
      level = try values.choice("log-level", options.mount.logging.logLevel) ?? .notice
      file = values.text("log-file", options.mount.logging.logFile).map(absolutePath)
    }
  }
}

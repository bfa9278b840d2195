import CatalogStore
import Credentials
import Formats
import Glibc
import HTTPStore
import LocalStore
import Logging
import Metrics
import ObjectStore
import S3Store
import Transport

/// The one place that knows which store is mounted.
enum StoreFactory {
  struct Mounted {
    var store: any ObjectStore
    /// Empty, or ends in "/".
    var prefix: ObjectKey
    /// The source without what is secret, for the mount table and messages.
    var name: String
    /// Keys and endpoint, for doctor; never a secret.
    var access: String?
    /// Whom a connection goes to; nil for a folder.
    var origin: String?
    /// What says which objects there are, in place of the store: "snapshot v1 (2026-11-23 ...)".
    var frozenBy: String?
    /// A manifest is the store's own affair (a site's) or goes before it.
    var takesManifest = true
    /// Of a folder that other users see: who may enter it now.
    var rootRights: (@Sendable () -> AccessRights?)?
    /// What downloads of whole files may take of the disk; the cache makes room for them.
    var spool: SpoolAllowance?
    /// What the site is, and so where its manifest may send to.
    var peers = PeerPolicy(own: .thisMachine)
    /// What the user should know: for doctor and the log.
    var warnings: [String] = []
  }

  static func make(_ settings: Settings, metrics: StoreMetrics, log: Logger) throws -> Mounted {
    let mounted = try makeStore(settings, metrics: metrics, log: log)
    do {
      return try freeze(mounted, settings, metrics, log)
    } catch {
      mounted.store.shutdown()
      throw error
    }
  }

  /// A tree that comes from a file in place of the store's own.
  private static func freeze(
    _ mounted: Mounted, _ settings: Settings, _ metrics: StoreMetrics, _ log: Logger
  ) throws -> Mounted {
    let catalog: Catalog
    var frozen = mounted
    let name: String
    if let snapshot = settings.snapshot, let cache = settings.cacheFolder {
      guard Snapshot.isName(snapshot) else {
        throw Failure.usage("--snapshot '\(oneLine(snapshot))': see millrace snapshot list")
      }
      try MountChecks.snapshots(in: cache)
      let (found, objects) = try Snapshot.load(snapshot, in: cache)
      guard found.identity == mounted.store.identity, mounted.prefix.hasPrefix(found.prefix) else {
        throw Failure(
          "snapshot \(snapshot) is of \(found.source) (\(found.identity)), not of \(mounted.name)"
        )
      }
      catalog = objects
      name = snapshot
      frozen.frozenBy = "snapshot \(snapshot) of \(UTCTime.text(found.created))"
    } else if let manifest = settings.manifest, mounted.takesManifest {
      guard !manifest.contains("://") else {
        throw Failure.usage("--manifest must be a local file for this source")
      }
      catalog = try ManifestReader.read(
        file: manifest, prefix: mounted.prefix, quotesETags: mounted.origin != nil)
      name = "manifest \(manifest)"
      frozen.frozenBy = name
    } else {
      return mounted
    }
    let bundle = settings.siteCABundle
    let spool = mounted.spool ?? SpoolAllowance(folder: settings.spoolFolder)
    frozen.spool = spool
    let peers = mounted.peers
    // Names come from the file, so perhaps nothing is asked of the site itself before.
    if catalog.hasTargets, let host = mounted.origin.flatMap(SourceChecks.endpoint)?.host {
      for address in addresses(ofName: host) {
        if let found = PeerAddress(literal: address) { peers.recordOwn(found.nearness) }
      }
    }
    frozen.store = CatalogStore(catalog, over: mounted.store, name: name) {
      origin throws(StoreError) in
      var options = HTTPStoreOptions()
      options.keysAreTargets = true
      options.spool = spool
      options.namedBy = peers
      let transport = try transport(settings, for: origin, caBundle: bundle, metrics, log)
      do throws(StoreError) {
        return try HTTPStore(url: origin, options: options, transport: transport, metrics: metrics)
      } catch {
        transport.shutdown()
        throw error
      }
    }
    return frozen
  }

  private static func makeStore(
    _ settings: Settings, metrics: StoreMetrics, log: Logger
  ) throws -> Mounted {
    switch settings.source {
    case .folder(let path):
      guard let folder = realPath(path) else {
        throw StoreError(
          .noSuchStore, store: "file://\(path)",
          detail: "cannot open the directory: \(systemMessage())")
      }
      let showsRights = settings.sourceAccess != nil
      let store = try FolderStore(
        folder: folder == "/" ? "" : folder, followsLinks: settings.followsLinks,
        showsRights: showsRights, metrics: metrics
      ) { key in
        log.warning(
          "\(key) and possibly other links lead out of \(folder) and are not shown; see --follow-links"
        )
      }
      var mounted = Mounted(store: store, prefix: .root, name: store.displayName)
      if showsRights { mounted.rootRights = { store.rights } }
      return mounted
    case .site(let url): return try makeSite(url, hub: nil, settings, metrics, log)
    case .hub(let hub):
      let endpoint = settings.environment["HF_ENDPOINT"].flatMap { $0.isEmpty ? nil : $0 }
      return try makeSite(
        endpoint ?? "https://huggingface.co", hub: hub, settings, metrics, log)
    case .bucket(let bucket, let prefix):
      return try makeBucket(bucket, prefix, settings, metrics, log)
    }
  }

  private static func makeSite(
    _ url: String, hub: HubAddress?, _ settings: Settings, _ metrics: StoreMetrics, _ log: Logger
  ) throws -> Mounted {
    let transport = try transport(
      settings, for: url, caBundle: settings.siteCABundle, metrics, log)
    do {
      var options = HTTPStoreOptions(manifest: hub == nil ? settings.manifest : nil)
      let spool = SpoolAllowance(folder: settings.spoolFolder)
      options.spool = spool
      let peers = peers(of: url, settings)
      options.peers = peers
      options.netrcFile = settings.netrcFile
      options.netrcIsOptional = settings.netrcIsOptional
      options.bearerTokenFile = settings.bearerTokenFile
      if settings.bearerTokenFile == nil {
        options.bearerToken = settings.environment["MILLRACE_BEARER_TOKEN"].flatMap {
          $0.isEmpty ? nil : $0
        }
        options.bearerTokenHost = settings.environment["MILLRACE_BEARER_TOKEN_HOST"].flatMap {
          $0.isEmpty ? nil : $0
        }
      }
      if let hub { setToken(hub, &options, settings.environment) }
      options.hub = hub
      let store = try HTTPStore(
        url: url, options: options, transport: transport, metrics: metrics)
      let folder = hub.map { ObjectKey($0.path) } ?? .root
      return Mounted(
        store: store, prefix: folder,
        name: store.displayName + (folder == .root ? "" : "/" + (hub?.path.dropLast() ?? "")),
        origin: url, takesManifest: hub != nil, spool: spool, peers: peers,
        warnings: store.sendsSecretsInClear
          ? [
            "the password or token of \(store.displayName) is sent without TLS and can be intercepted; use an https URL"
          ] : [])
    } catch {
      transport.shutdown()
      throw error
    }
  }

  /// The hub's own places for a token, where the user named none.
  private static func setToken(
    _ hub: HubAddress, _ options: inout HTTPStoreOptions, _ environment: [String: String]
  ) {
    guard options.bearerToken == nil, options.bearerTokenFile == nil else { return }
    func variable(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
    if let token = variable("HF_TOKEN") {
      options.bearerToken = String(token.filter { !$0.isWhitespace })
      return
    }
    let home =
      variable("HF_HOME") ?? (variable("XDG_CACHE_HOME") ?? (environment["HOME"] ?? "") + "/.cache")
      + "/huggingface"
    let file = variable("HF_TOKEN_PATH") ?? home + "/token"
    if access(file, R_OK) == 0 { options.bearerTokenFile = file }
  }

  private static func makeBucket(
    _ bucket: String, _ prefix: String, _ settings: Settings, _ metrics: StoreMetrics, _ log: Logger
  ) throws -> Mounted {
    let choice = CredentialsOptions(
      profile: settings.profile, region: settings.region, endpointURL: settings.endpointURL,
      noSignRequest: settings.noSignRequest)
    let access = try CredentialsResolver(options: choice, environment: settings.environment)
      .resolve(for: "s3://\(bucket)", caBundle: settings.caBundle, log: log)
    let transport = try transport(
      settings, for: "s3://\(bucket)", caBundle: access.caBundle, metrics, log)
    do {
      var options = S3Options(
        bucket: bucket, endpointURL: access.endpointURL, region: access.region,
        pathStyle: settings.pathStyle ?? access.pathStyle)
      options.verifiesETag = settings.verifiesETag
      options.variants = variants(settings, access)
      options.requesterPays = settings.requesterPays
      options.expectedOwner = settings.expectedBucketOwner
      options.customerKey = settings.customerKey
      options.at = settings.at
      options.caBundle = access.caBundle
      options.credentialsTransport = access.transport
      let origin =
        access.endpointURL ?? "https://s3.\(access.region ?? "us-east-1").amazonaws.com"
      options.peers = peers(of: origin, settings)
      options.usesSessions =
        settings.environment["AWS_S3_DISABLE_EXPRESS_SESSION_AUTH"]?.lowercased() != "true"
      let store = try S3Store(
        options: options, credentials: access.provider, transport: transport,
        metrics: metrics)
      let folder = prefix.isEmpty ? "" : "/" + prefix.dropLast()
      return Mounted(
        store: store, prefix: ObjectKey(prefix), name: store.displayName + folder,
        access: access.credentials.map { "\($0)" } ?? "none, requests are not signed",
        origin: origin,
        frozenBy: settings.at.map { "the bucket as it was at \(UTCTime.text($0))" },
        peers: options.peers)
    } catch {
      transport.shutdown()
      throw error
    }
  }

  /// `--allow-private`: as if the site were on this machine.
  private static func peers(of url: String, _ settings: Settings) -> PeerPolicy {
    settings.allowsPrivate
      ? PeerPolicy(own: .thisMachine) : PeerPolicy(host: SourceChecks.endpoint(url)?.host ?? "")
  }

  private static func variants(_ settings: Settings, _ access: ResolvedAccess) -> S3Variants {
    var variants = S3Variants()
    variants.usesDualStack = settings.usesDualStack || access.usesDualStack
    variants.usesFIPS = settings.usesFIPS || access.usesFIPS
    variants.accelerates = settings.accelerates || access.accelerates
    variants.usesARNRegion = access.usesARNRegion
    return variants
  }

  private static func transport(
    _ settings: Settings, for store: String, caBundle: String?, _ metrics: StoreMetrics,
    _ log: Logger
  ) throws(StoreError) -> Transport {
    var configuration = TransportConfiguration()
    configuration.caBundle = caBundle
    configuration.clientCertificate = settings.clientCertificate
    configuration.clientKey = settings.clientKey
    configuration.bodyBudget = BodyBudget(limit: settings.answerLimit)
    configuration.maxBytesPerSecond = settings.maxBandwidth
    configuration.maxRequestsPerSecond = settings.maxRequestsPerSecond
    // Each read's own deadline (--io-timeout) ends the wait for a store that is away.
    configuration.waitsWhileAway = true
    configuration.userAgent = "millrace/\(Millrace.version)"
    if settings.logLevel <= .debug { configuration.requestLog = { log.debug("\($0)") } }
    let transport = Transport(configuration: configuration, metrics: metrics, log: log)
    do throws(StoreError) { try transport.prepare() } catch {
      transport.shutdown()
      var error = error
      error.store = store
      throw error
    }
    return transport
  }
}

import Credentials
import Logging
import Metrics
import ObjectStore
import Stores
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
  }

  static func make(_ settings: Settings, metrics: StoreMetrics, log: Logger) throws -> Mounted {
    switch settings.source {
    case .folder(let path):
      guard let folder = realPath(path) else {
        throw StoreError(
          .noSuchStore, store: "file://\(path)",
          detail: "cannot open the folder: \(systemMessage())")
      }
      let store = try FolderStore(folder: folder == "/" ? "" : folder, metrics: metrics)
      return Mounted(store: store, prefix: .root, name: store.displayName)
    case .site(let url):
      let transport = transport(settings, caBundle: settings.caBundle, metrics, log)
      do {
        let store = try HTTPStore(
          url: url, options: HTTPStoreOptions(manifest: settings.manifest), transport: transport,
          metrics: metrics)
        return Mounted(store: store, prefix: .root, name: store.displayName, origin: url)
      } catch {
        transport.shutdown()
        throw error
      }
    case .bucket(let bucket, let prefix):
      return try makeBucket(bucket, prefix, settings, metrics, log)
    }
  }

  private static func makeBucket(
    _ bucket: String, _ prefix: String, _ settings: Settings, _ metrics: StoreMetrics, _ log: Logger
  ) throws -> Mounted {
    let choice = CredentialsOptions(
      profile: settings.profile, region: settings.region, endpointURL: settings.endpointURL,
      noSignRequest: settings.noSignRequest)
    let access = try CredentialsResolver(options: choice, environment: settings.environment)
      .resolve(for: "s3://\(bucket)")
    let transport = transport(
      settings, caBundle: settings.caBundle ?? access.caBundle, metrics, log)
    do {
      let store = try S3Store(
        options: S3Options(
          bucket: bucket, endpointURL: access.endpointURL, region: access.region,
          pathStyle: settings.pathStyle ?? access.pathStyle),
        credentials: FixedCredentials(access.credentials), transport: transport, metrics: metrics)
      let folder = prefix.isEmpty ? "" : "/" + prefix.dropLast()
      return Mounted(
        store: store, prefix: ObjectKey(prefix), name: store.displayName + folder,
        access: access.credentials.map { "\($0)" } ?? "none, requests are not signed",
        origin: access.endpointURL ?? "https://s3.\(access.region ?? "us-east-1").amazonaws.com")
    } catch {
      transport.shutdown()
      throw error
    }
  }

  private static func transport(
    _ settings: Settings, caBundle: String?, _ metrics: StoreMetrics, _ log: Logger
  ) -> Transport {
    var configuration = TransportConfiguration()
    configuration.caBundle = caBundle
    configuration.userAgent = "millrace/\(Millrace.version)"
    return Transport(configuration: configuration, metrics: metrics, log: log)
  }
}

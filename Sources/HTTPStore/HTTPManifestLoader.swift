import Formats
import ObjectStore
import Posix
import Transport

/// Gets the manifest that a site is mounted with: from a file, or from an address with the site's transport.
struct HTTPManifestLoader {
  let site: HTTPSite
  let transport: Transport

  /// nil: the options name none. One at an address is waited for.
  func load(_ options: HTTPStoreOptions) throws(StoreError) -> HTTPManifest? {
    guard let source = options.manifest else { return nil }
    let lower = source.lowercased()
    let isAddress = lower.hasPrefix("http://") || lower.hasPrefix("https://")
    let shown = isAddress ? HTTPSite.withoutUserInfo(source) : source
    let text =
      isAddress
      ? try download(source, shown, within: options.manifestTimeout)
      : try Self.readFile(source)
    do throws(ManifestLines.Malformed) { return try HTTPManifest(parsing: text) } catch {
      throw StoreError(
        .invalidSource, store: "manifest \(shown)", detail: "line \(error.line): \(error.reason)",
        advice: "a line is path,size,mtime,etag or a JSON object with these names")
    }
  }

  private func download(
    _ source: String, _ shown: String, within timeout: Duration
  ) throws(StoreError) -> [UInt8] {
    let parsed: (url: HTTPURL, userInfo: [UInt8]?)
    do throws(HTTPURL.Malformed) { parsed = try HTTPURL.parse(source) } catch {
      throw StoreError(.invalidSource, store: "manifest \(shown)", detail: error.reason)
    }
    // The site's own user and password also open a manifest that lies beside the data.
    let isBeside = parsed.url.origin == site.base.origin && parsed.userInfo == nil
    let own = try HTTPAuthorization.find(
      userInfo: parsed.userInfo, options: HTTPStoreOptions(), host: parsed.url.host, port: nil)
    let place = HTTPSite(
      base: parsed.url, authorization: isBeside ? site.authorization : own,
      displayName: "manifest \(shown)", metrics: site.metrics,
      peers: PeerPolicy(host: parsed.url.host))
    return try HTTPDocumentExchange.document(
      parsed.url, of: place, bytesMax: HTTPManifest.bytesMax, transport, within: timeout)
  }

  private static func readFile(_ path: String) throws(StoreError) -> [UInt8] {
    do throws(UnreadableFile) {
      return try readRegularFile(path, atMost: HTTPManifest.bytesMax)
    } catch {
      throw StoreError(.invalidSource, store: "manifest \(path)", detail: error.reason)
    }
  }
}

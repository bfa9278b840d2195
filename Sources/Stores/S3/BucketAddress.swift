import Credentials
import ObjectStore

/// Where a bucket's requests go: host, addressing and region, as one value that answers from the store may
/// replace.
struct BucketAddress: Equatable, Sendable {
  enum Place: Equatable, Sendable {
    case aws
    /// Scheme, host with port, base path without "/" at its end.
    case custom(scheme: String, authority: String, base: String)
  }

  let bucket: String
  let place: Place
  let usesPathStyle: Bool
  var region: String

  init(options: S3Options) throws(StoreError) {
    let store = "s3://\(options.bucket)"
    if let complaint = BucketName.complaint(options.bucket) {
      throw StoreError(.invalidSource, store: store, detail: complaint)
    }
    bucket = options.bucket
    region = options.region ?? "us-east-1"
    guard Self.isRegion(region) else {
      throw StoreError(
        .invalidSource, store: store, detail: "'\(region)' cannot be a region's name",
        advice: "regions look like us-east-1")
    }
    if let url = options.endpointURL {
      guard let custom = Self.parse(url) else {
        throw StoreError(
          .invalidSource, store: store, detail: "'\(url)' is no endpoint URL",
          advice: "give --endpoint-url as https://HOST[:PORT] without user name or query")
      }
      place = custom
      let fits =
        custom.scheme == "https" ? BucketName.isLabel(bucket) : BucketName.isHostName(bucket)
      if options.pathStyle == false, !fits || custom.hasAddressAsHost {
        throw StoreError(
          .invalidSource, store: store,
          detail: "the bucket's name cannot stand before the host of \(url)",
          advice: "leave virtual-host addressing out: the bucket then stands in the path")
      }
      // Few stores but AWS have a wildcard name in DNS; all of them take the bucket in the path.
      usesPathStyle = options.pathStyle ?? true
    } else {
      place = .aws
      // A dot in the bucket's name breaks the wildcard certificate of AWS.
      usesPathStyle = options.pathStyle == true || !BucketName.isLabel(bucket)
    }
  }

  var scheme: String { place.scheme }

  /// Host with port, as in the Host header.
  var host: String {
    let plain: String =
      switch place {
      case .aws:
        "s3.\(region).amazonaws.com" + (region.hasPrefix("cn-") ? ".cn" : "")
      case .custom(_, let authority, _): authority
      }
    return usesPathStyle ? plain : "\(bucket).\(plain)"
  }

  /// The encoded path of a key, or of the bucket itself for `nil`.
  func path(_ key: ObjectKey?) -> String {
    var path = ""
    if case .custom(_, _, let base) = place { path = base }
    if usesPathStyle { path += "/" + PercentEncoding.encode(bucket.utf8) }
    if let key { return path + "/" + PercentEncoding.encode(key.bytes, keepsSlash: true) }
    return path.isEmpty ? "/" : path
  }

  /// Endpoint and bucket, and not the region: that may be learned later and must not rename the cache.
  var identity: String {
    switch place {
    case .aws: "s3.amazonaws.com\(region.hasPrefix("cn-") ? ".cn" : "")/\(bucket)"
    case .custom(let scheme, let authority, let base): "\(scheme)://\(authority)\(base)/\(bucket)"
    }
  }

  /// What a region may look like: it becomes part of a host name, whoever named it.
  static func isRegion(_ name: String) -> Bool {
    (1...40).contains(name.utf8.count) && name.utf8.first != UInt8(ascii: "-")
      && name.utf8.allSatisfy {
        (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == UInt8(ascii: "-")
      }
  }

  static func parse(_ url: String) -> Place? {
    guard let mark = url.range(ofASCII: "://") else { return nil }
    let scheme = url[..<mark.lowerBound].lowercased()
    guard scheme == "http" || scheme == "https" else { return nil }
    let rest = url[mark.upperBound...]
    let authority = rest.prefix { $0 != "/" }.lowercased()
    var base = String(rest.dropFirst(authority.count))
    while base.hasSuffix("/") { base.removeLast() }
    let isClean = { (text: String, extra: String) in
      text.utf8.allSatisfy { byte in
        (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte) || extra.utf8.contains(byte)
      }
    }
    guard !authority.isEmpty, isClean(authority, ".-_:[]"), isClean(base.lowercased(), "/-._~%")
    else { return nil }
    return .custom(scheme: scheme, authority: withoutDefaultPort(authority, scheme), base: base)
      .validated
  }

  /// libcurl leaves the scheme's own port out of the Host header, and the header is signed.
  private static func withoutDefaultPort(_ authority: String, _ scheme: String) -> String {
    let port = scheme == "https" ? ":443" : ":80"
    return authority.hasSuffix(port) && !authority.hasPrefix("[" + port)
      ? String(authority.dropLast(port.count)) : authority
  }
}

extension BucketAddress.Place {
  var scheme: String {
    if case .custom(let scheme, _, _) = self { return scheme }
    return "https"
  }

  /// The host is an address or this machine: a bucket's name cannot stand before it.
  var hasAddressAsHost: Bool {
    guard case .custom(_, let authority, _) = self else { return false }
    if authority.hasPrefix("[") { return true }
    let host = authority.prefix { $0 != ":" }
    return host.utf8.allSatisfy { (0x30...0x39).contains($0) || $0 == UInt8(ascii: ".") }
  }

  /// The host and port have a form that can be connected to.
  fileprivate var validated: Self? {
    guard case .custom(_, let authority, _) = self else { return self }
    var rest = Substring(authority)
    if rest.hasPrefix("[") {
      guard let close = rest.firstIndex(of: "]"), close > rest.index(after: rest.startIndex) else {
        return nil
      }
      rest = rest[rest.index(after: close)...]
    } else {
      let host = rest.prefix { $0 != ":" }
      if host.isEmpty || host.contains("[") || host.contains("]") { return nil }
      rest = rest.dropFirst(host.count)
    }
    if rest.isEmpty { return self }
    guard rest.first == ":", let port = UInt16(rest.dropFirst()), port > 0 else { return nil }
    return self
  }
}

extension StringProtocol {
  /// Where an ASCII string first stands; the standard library has no such search for all targets.
  fileprivate func range(ofASCII pattern: String) -> Range<Index>? {
    var start = startIndex
    while start < endIndex {
      if self[start...].hasPrefix(pattern) {
        return start..<index(start, offsetBy: pattern.count)
      }
      start = index(after: start)
    }
    return nil
  }
}

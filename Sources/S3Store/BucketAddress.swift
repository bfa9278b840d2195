import Formats
import ObjectStore

/// Where a bucket's requests go: host, addressing and region, as one value that answers from the store may
/// replace.
struct BucketAddress: Equatable, Sendable {
  enum Place: Equatable, Sendable {
    case aws
    /// Scheme, host with port, base path without "/" at its end.
    case custom(scheme: String, authority: String, base: String)
  }

  /// What a request is for.
  enum Kind: Equatable, Sendable {
    case bucket
    case accessPoint(BucketARN)
    /// A directory bucket of S3 Express in one zone, "usw2-az1".
    case zonal(String)
  }

  let bucket: String
  let kind: Kind
  let place: Place
  let usesPathStyle: Bool
  private let variants: S3Variants
  var region: String

  init(options: S3Options) throws(StoreError) {
    let store = "s3://\(options.bucket)"
    func invalid(_ detail: String, _ advice: String = "") -> StoreError {
      StoreError(.invalidSource, store: store, detail: detail, advice: advice)
    }
    bucket = options.bucket
    variants = options.variants
    var region = options.region ?? "us-east-1"
    guard Self.isRegion(region) else {
      throw invalid("'\(region)' cannot be a region's name", "regions look like us-east-1")
    }
    kind = try Self.kind(options, &region)
    self.region = region
    place = try Self.place(options)
    if let complaint = Self.complaint(kind, place, options, region: region) {
      throw invalid(complaint)
    }
    let fits =
      place.scheme == "https" ? BucketName.isLabel(bucket) : BucketName.isHostName(bucket)
    switch (kind, place) {
    case (.accessPoint, _): usesPathStyle = false
    case (.zonal, .aws): usesPathStyle = false
    case (_, .aws):
      // A dot in the bucket's name breaks the wildcard certificate of AWS.
      usesPathStyle = options.pathStyle == true || !BucketName.isLabel(bucket)
    case (_, .custom):
      if options.pathStyle == false, !fits || place.hasAddressAsHost {
        throw invalid(
          "the bucket's name cannot be part of the host name of \(options.endpointURL ?? "")",
          "use --path-style")
      }
      // Few stores but AWS have a wildcard name in DNS; all of them take the bucket in the path.
      usesPathStyle = options.pathStyle ?? true
    }
    if variants.accelerates, usesPathStyle {
      throw invalid("--accelerate needs a bucket whose name is a valid host name without dots")
    }
  }

  private static func kind(_ options: S3Options, _ region: inout String) throws(StoreError) -> Kind
  {
    let store = "s3://\(options.bucket)"
    if options.bucket.hasPrefix("arn:") {
      let arn: BucketARN
      do throws(BucketARN.Malformed) { arn = try BucketARN(options.bucket) } catch {
        throw StoreError(
          error.isUnsupported ? .unsupported : .invalidSource, store: store, detail: error.reason)
      }
      if options.variants.usesARNRegion == false || region == "s3-external-1", arn.region != region,
        options.variants.usesARNRegion != true
      {
        throw StoreError(
          .invalidSource, store: store,
          detail: "the access point is in \(arn.region), and the region in use is \(region)",
          advice: "name its --region, or set AWS_S3_USE_ARN_REGION=true")
      }
      guard AWSPartition.of(region: arn.region).name == AWSPartition.of(region: region).name,
        AWSPartition.of(region: arn.region).name == arn.partition
      else {
        throw StoreError(
          .invalidSource, store: store,
          detail: "the access point is in another partition of AWS than the region \(region)",
          advice: "name its --region")
      }
      region = arn.region
      return .accessPoint(arn)
    }
    if let complaint = BucketName.complaint(options.bucket) {
      throw StoreError(.invalidSource, store: store, detail: complaint)
    }
    if options.bucket.hasSuffix("--x-s3") || options.bucket.hasSuffix("--xa-s3") {
      let parts = Self.parts(options.bucket)
      let zone = parts.count >= 3 ? parts[parts.count - 2] : ""
      guard BucketName.isLabel(options.bucket), zone.contains("-"), BucketName.isLabel(zone) else {
        throw StoreError(
          .invalidSource, store: store,
          detail: "'\(options.bucket)' cannot be a directory bucket's name",
          advice: "they look like NAME--usw2-az1--x-s3")
      }
      return .zonal(zone)
    }
    if options.bucket.hasSuffix("--op-s3") {
      throw StoreError(
        .unsupported, store: store,
        detail: "aliases of access points on Outposts are not supported",
        advice: "give the access point's ARN")
    }
    return .bucket
  }

  /// Of a directory bucket's name, between its double hyphens.
  private static func parts(_ name: String) -> [String] {
    name.split(separator: "--", omittingEmptySubsequences: false).map(String.init)
  }

  private static func place(_ options: S3Options) throws(StoreError) -> Place {
    guard let url = options.endpointURL else { return .aws }
    guard let custom = parse(url) else {
      throw StoreError(
        .invalidSource, store: "s3://\(options.bucket)", detail: "'\(url)' is not an endpoint URL",
        advice: "give --endpoint-url as https://HOST[:PORT] without user name or query")
    }
    return custom
  }

  /// What cannot go together.
  private static func complaint(
    _ kind: Kind, _ place: Place, _ options: S3Options, region: String
  ) -> String? {
    let variants = options.variants
    if case .custom = place {
      if variants.usesDualStack { return "--dualstack works with AWS endpoints only" }
      if variants.usesFIPS { return "--fips works with AWS endpoints only" }
      if variants.accelerates { return "--accelerate works with AWS endpoints only" }
    }
    let partition = AWSPartition.of(region: region)
    if variants.usesFIPS, partition.name == "aws-cn" {
      return "FIPS endpoints do not exist in \(region)"
    }
    if variants.accelerates {
      if variants.usesFIPS { return "--accelerate and --fips are mutually exclusive" }
      if partition.name != "aws" { return "transfer acceleration does not exist in \(region)" }
      if kind != .bucket { return "--accelerate works with general purpose buckets only" }
    }
    switch kind {
    case .accessPoint(let arn):
      if options.pathStyle == true { return "an access point cannot be addressed path-style" }
      if arn.service != "s3", variants.usesDualStack {
        return "dual-stack endpoints do not exist for \(arn.service)"
      }
      if arn.service == "s3-outposts", variants.usesFIPS {
        return "FIPS endpoints do not exist for Outposts"
      }
      if place.hasAddressAsHost {
        return "an access point needs a host name as endpoint, not an IP address"
      }
    default: break
    }
    return nil
  }

  var scheme: String { place.scheme }

  /// What requests are signed for.
  var service: String {
    switch kind {
    case .bucket: "s3"
    case .accessPoint(let arn): arn.service
    case .zonal: "s3express"
    }
  }

  /// The region in signatures and host names.
  var signingRegion: String { region == "aws-global" ? "us-east-1" : region }

  /// Host with port, as in the Host header.
  var host: String {
    if case .custom(_, let authority, _) = place {
      switch kind {
      case .accessPoint(let arn):
        return "\(arn.label).\(arn.outpost.map { "\($0)." } ?? "")\(authority)"
      default: return usesPathStyle ? authority : "\(bucket).\(authority)"
      }
    }
    let suffix = AWSPartition.of(region: region).suffix
    let fips = variants.usesFIPS ? "-fips" : ""
    let dual = variants.usesDualStack ? ".dualstack" : ""
    switch kind {
    case .accessPoint(let arn):
      switch arn.service {
      case "s3-outposts":
        return "\(arn.label).\(arn.outpost ?? "").s3-outposts.\(region).\(suffix)"
      case "s3-object-lambda": return "\(arn.label).s3-object-lambda\(fips).\(region).\(suffix)"
      default: return "\(arn.label).s3-accesspoint\(fips)\(dual).\(region).\(suffix)"
      }
    case .zonal(let zone): return "\(bucket).s3express\(fips)-\(zone)\(dual).\(region).\(suffix)"
    case .bucket:
      if variants.accelerates {
        let place = region == "aws-global" && !dual.isEmpty ? ".us-east-1" : ""
        return "\(bucket).s3-accelerate\(dual)\(place).\(suffix)"
      }
      let isGlobal = region == "aws-global" && fips.isEmpty && dual.isEmpty
      let plain =
        isGlobal ? "s3.\(suffix)" : "s3\(fips)\(dual).\(signingRegion).\(suffix)"
      return usesPathStyle ? plain : "\(bucket).\(plain)"
    }
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
    case .aws: "s3.\(AWSPartition.of(region: region).suffix)/\(bucket)"
    case .custom(let scheme, let authority, let base): "\(scheme)://\(authority)\(base)/\(bucket)"
    }
  }

  /// What a region may look like, wherever it comes from: it becomes part of a host name.
  static func isRegion(_ name: String) -> Bool {
    (1...40).contains(name.utf8.count) && name.utf8.first != UInt8(ascii: "-")
      && name.utf8.allSatisfy {
        (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == UInt8(ascii: "-")
      }
  }

  /// An endpoint is host, port and a plain path: no user, no query, nothing that would have to be encoded.
  static func parse(_ text: String) -> Place? {
    guard let (url, userInfo) = try? HTTPURL.parse(text), userInfo == nil,
      text.utf8.allSatisfy({ PercentEncoding.isAlphanumeric($0) || "/-._~%:[]".utf8.contains($0) }),
      !url.target.utf8.contains(where: { ":[]".utf8.contains($0) })
    else { return nil }
    var base = url.target
    while base.hasSuffix("/") { base.removeLast() }
    return .custom(scheme: url.scheme, authority: url.authority, base: base)
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
}

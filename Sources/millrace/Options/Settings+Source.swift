import Credentials

/// What the options say of the store.
extension Settings {
  /// Where a bucket is, and who asks for it.
  struct Access {
    var endpointURL: String?
    var region: String?
    var profile: String?
    var noSignRequest: Bool
    var pathStyle: Bool?
    /// Also of a source that is no bucket, see `siteCABundle`.
    var caBundle: String?

    init(_ options: SharedOptions, _ values: OptionValues) throws(Failure) {
      endpointURL = try values.url("endpoint-url", options.source.common.endpointURL)
      region = values.text("region", options.source.common.region)
      profile = values.text("profile", options.source.common.profile)
      noSignRequest = try values.flag("no-sign-request", options.source.common.noSignRequest)
      pathStyle = try Self.pathStyle(options, values)
      caBundle = try values.file("ca-bundle", options.source.site.caBundle)
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
  }

  /// How a bucket is asked, and for what.
  struct Bucket {
    var usesDualStack: Bool
    var usesFIPS: Bool
    var accelerates: Bool
    var requesterPays: Bool
    var expectedOwner: String?
    /// 32 bytes; a secret.
    var customerKey: [UInt8]?
    /// Seconds since 1970.
    var at: Int64?

    init(_ options: SharedOptions, _ values: OptionValues) throws(Failure) {
      let given = options.source.bucket
      usesDualStack = try values.flag("dualstack", given.dualstack)
      usesFIPS = try values.flag("fips", given.fips)
      accelerates = try values.flag("accelerate", given.accelerate)
      requesterPays = try values.flag("requester-pays", given.requesterPays)
      expectedOwner = values.text("expected-bucket-owner", given.expectedBucketOwner)
      if let owner = expectedOwner, owner.utf8.count != 12 || !owner.utf8.allSatisfy(isDigit) {
        throw .usage("--expected-bucket-owner '\(oneLine(owner))': an account has twelve digits")
      }
      customerKey = try Self.customerKey(options, values)
      at = try values.moment("at", given.at)
    }

    private static func customerKey(
      _ options: SharedOptions, _ values: OptionValues
    ) throws(Failure) -> [UInt8]? {
      guard
        let path = try values.file(
          "sse-customer-key-file", options.source.bucket.sseCustomerKeyFile)
      else {
        return nil
      }
      guard let key = CustomerKeyFile.read(path) else {
        throw .usage("--sse-customer-key-file \(path): expected 32 bytes, plain or in base64")
      }
      return key
    }
  }

  /// Who asks a web site.
  struct Site {
    var bearerTokenFile: String?
    /// nil: not wanted.
    var netrcFile: String?
    /// Its usual place, where there need be none.
    var netrcIsOptional = false
    var clientCertificate: String?
    var clientKey: String?

    init(
      _ options: SharedOptions, _ values: OptionValues, _ environment: [String: String]
    ) throws(Failure) {
      let given = options.source.site
      bearerTokenFile = try values.file("bearer-token-file", given.bearerTokenFile)
      netrcFile = try values.file("netrc-file", given.netrcFile)
      if netrcFile == nil, try values.flag("netrc", given.netrc) {
        netrcFile =
          environment["NETRC"].flatMap { $0.isEmpty ? nil : $0 } ?? (environment["HOME"] ?? "")
          + "/.netrc"
        netrcIsOptional = true
      }
      clientCertificate = try values.file("client-cert", given.clientCert)
      clientKey = try values.file("client-key", given.clientKey)
      if clientKey != nil, clientCertificate == nil {
        throw .usage("--client-key needs --client-cert")
      }
    }
  }

  /// The user's rate limits.
  struct Rates {
    /// Bytes a second; nil: no limit.
    var maxBandwidth: Int?
    var maxRequestsPerSecond: Double?

    init(_ options: SharedOptions, _ values: OptionValues) throws(Failure) {
      maxBandwidth = try Self.bandwidth(options, values)
      maxRequestsPerSecond = try values.number(
        "max-requests-per-second", options.source.network.maxRequestsPerSecond, 1...1_000_000
      ).map(Double.init)
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
  }

  /// What says which files there are, beside the store, and what their content is compared with.
  struct Content {
    var verifiesETag: Bool
    var manifest: String?
    var snapshot: String?

    init(_ options: SharedOptions, _ values: OptionValues) throws(Failure) {
      verifiesETag = try values.flag("verify-etag", options.source.bucket.verifyETag)
      manifest = values.text("manifest", options.source.tree.manifest).map {
        $0.contains("://") ? $0 : absolutePath($0)
      }
      snapshot = values.text("snapshot", options.source.tree.snapshot)
    }
  }
}

private func isDigit(_ byte: UInt8) -> Bool { byte > 47 && byte < 58 }

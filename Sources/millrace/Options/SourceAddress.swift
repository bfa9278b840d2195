import HTTPStore

/// SOURCE, taken apart.
enum SourceAddress: Equatable {
  /// `prefix` is empty or ends in "/".
  case bucket(name: String, prefix: String)
  case site(url: String)
  case hub(HubAddress)
  /// As written, without "file://"; made absolute when it is mounted.
  case folder(path: String)

  /// All forms, for help and errors.
  static let forms =
    "s3://BUCKET[/PREFIX], http(s)://HOST/PATH/, hf://datasets/OWNER/NAME, file:///DIR or DIR"

  /// A text without a scheme is a directory if `isFolder` says so.
  init(_ text: String, isFolder: (String) -> Bool = SourceAddress.folderExists) throws(Failure) {
    guard let mark = text.firstRange(of: "://") else {
      guard isFolder(text) else { throw SourceAddress.noScheme(text) }
      self = .folder(path: text)
      return
    }
    let rest = String(text[mark.upperBound...])
    if text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7f }) {
      throw SourceAddress.bad(oneLine(text), "it contains control characters")
    }
    switch text[..<mark.lowerBound].lowercased() {
    case "hf":
      guard let hub = HubAddress(text) else {
        throw SourceAddress.bad(
          text, "a repository is hf://datasets/OWNER/NAME[@REVISION]; a model is hf://OWNER/NAME")
      }
      self = .hub(hub)
    case "s3": self = try SourceAddress.parseBucket(text, rest)
    case "http", "https":
      let host = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
      guard !host.isEmpty, !host.contains(" ") else { throw SourceAddress.bad(text, "no host") }
      self = .site(url: text)
    case "file":
      guard rest.hasPrefix("/") else {
        throw SourceAddress.bad(text, "a file URL has three slashes: file:///DIR")
      }
      self = .folder(path: rest)
    case let scheme: throw SourceAddress.unknownScheme(text, scheme, rest)
    }
  }

  /// A directory's path from the root on: the daemon changes its working directory.
  var absolute: SourceAddress {
    if case .folder(let path) = self { return .folder(path: absolutePath(path)) }
    return self
  }

  /// SOURCE with the directory of --prefix behind it.
  static func joined(_ text: String, _ prefix: String?) -> String {
    let below = prefix?.drop { $0 == "/" } ?? ""
    guard !below.isEmpty else { return text }
    return text + (text.hasSuffix("/") ? "" : "/") + below
  }

  /// Neither a URL nor a directory that exists: what was probably meant.
  private static func noScheme(_ text: String) -> Failure {
    if let status = FileStatus(of: text), !status.isFolder {
      return .usage(
        "source '\(text)' is a file; a source is a directory: give the one that the file is in")
    }
    if let colon = text.firstIndex(of: ":"),
      ["s3", "http", "https", "hf", "gs", "file"].contains(text[..<colon].lowercased())
    {
      let rest = text[text.index(after: colon)...].drop { $0 == "/" }
      let slashes = text[..<colon].lowercased() == "file" ? ":///" : "://"
      return .usage(
        "source '\(text)': the scheme is followed by two slashes; did you mean \(text[..<colon])\(slashes)\(rest)?"
      )
    }
    if text.contains("/") || text.hasPrefix(".") || text.isEmpty {
      return text.isEmpty
        ? bad(text, "it is empty")
        : Failure("source '\(text)': there is no such directory", .sourceNotFound)
    }
    if isBucketName(text) {
      return bad(text, "there is no such directory; did you mean s3://\(text)?")
    }
    return bad(text, "neither a URL nor a directory")
  }

  private static func unknownScheme(_ text: String, _ scheme: String, _ rest: String) -> Failure {
    switch scheme {
    case "gs", "gcs":
      .usage(
        "source '\(text)': mount Google Cloud Storage by its S3 interface: s3://\(rest) --endpoint-url "
          + "https://storage.googleapis.com, with an HMAC key as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
      )
    case "s3a", "s3n": bad(text, "did you mean s3://\(rest)?")
    case "r2", "b2", "oss", "cos", "obs", "minio", "ceph", "wasabi":
      .usage(
        "source '\(text)': mount it by its S3 interface: s3://\(rest) --endpoint-url URL-OF-THE-SERVICE"
      )
    default: bad(text, "unknown scheme '\(scheme)'")
    }
  }

  private static func parseBucket(_ text: String, _ rest: String) throws(Failure) -> SourceAddress {
    if rest.hasPrefix("arn:") { return try parseAccessPoint(text, rest) }
    let parts = rest.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    let name = String(parts[0])
    guard isBucketName(name) else {
      throw bad(text, name.isEmpty ? "no bucket in it" : "'\(name)' cannot be a bucket's name")
    }
    var prefix = parts.count > 1 ? String(parts[1]) : ""
    if !prefix.isEmpty, !prefix.hasSuffix("/") { prefix += "/" }
    return .bucket(name: name, prefix: prefix)
  }

  private static func isBucketName(_ name: String) -> Bool {
    (1...255).contains(name.utf8.count)
      && name.utf8.allSatisfy { byte in
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
          || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || "._-".utf8.contains(byte)
      }
  }

  /// `arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME[/PREFIX]`; on an Outpost `...:outpost/ID/accesspoint/NAME`.
  /// What stands behind the name is the prefix. The store checks the rest.
  private static func parseAccessPoint(_ text: String, _ rest: String) throws(Failure)
    -> SourceAddress
  {
    let parts = rest.split(separator: ":", maxSplits: 5, omittingEmptySubsequences: false)
    guard parts.count == 6 else {
      throw bad(text, "an access point is arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME")
    }
    // Both separators are in use up to the name.
    var words: [Substring] = []
    var left = parts[5]
    let count = left.hasPrefix("outpost") ? 4 : 2
    while words.count < count - 1, let mark = left.firstIndex(where: { $0 == "/" || $0 == ":" }) {
      words.append(left[..<mark])
      left = left[left.index(after: mark)...]
    }
    words.append(left.prefix { $0 != "/" })
    var prefix = String(left.drop { $0 != "/" }.dropFirst())
    if !prefix.isEmpty, !prefix.hasSuffix("/") { prefix += "/" }
    let name = (parts[..<5].map(String.init) + [words.joined(separator: "/")]).joined(
      separator: ":")
    return .bucket(name: name, prefix: prefix)
  }

  private static func bad(_ text: String, _ reason: String) -> Failure {
    .usage("source '\(text)': \(reason); a source is \(forms)")
  }

  static func folderExists(_ path: String) -> Bool { FileStatus(of: path)?.isFolder ?? false }
}

import Stores

/// SOURCE, taken apart.
enum SourceAddress: Equatable {
  /// `prefix` is empty or ends in "/".
  case bucket(name: String, prefix: String)
  case site(url: String)
  case hub(HubAddress)
  /// As written, without "file://"; made absolute when it is mounted.
  case folder(path: String)

  /// A text without a scheme is a folder if `isFolder` says so.
  init(_ text: String, isFolder: (String) -> Bool = SourceAddress.folderExists) throws(Failure) {
    guard let mark = text.firstRange(of: "://") else {
      guard isFolder(text) else { throw SourceAddress.bad(text, "neither a URL nor a folder") }
      self = .folder(path: text)
      return
    }
    let rest = String(text[mark.upperBound...])
    if text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7f }) {
      throw SourceAddress.bad(oneLine(text), "control characters in it")
    }
    switch text[..<mark.lowerBound].lowercased() {
    case "hf":
      guard let hub = HubAddress(text) else {
        throw SourceAddress.bad(
          text, "a repository is hf://datasets/OWNER/NAME[@REVISION], hf://OWNER/NAME for a model")
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
    default: throw SourceAddress.bad(text, "unknown scheme")
    }
  }

  private static func parseBucket(_ text: String, _ rest: String) throws(Failure) -> SourceAddress {
    if rest.hasPrefix("arn:") { return try parseAccessPoint(text, rest) }
    let parts = rest.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    let name = String(parts[0])
    let allowed = name.utf8.allSatisfy { byte in
      (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
        || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || "._-".utf8.contains(byte)
    }
    guard (1...255).contains(name.utf8.count), allowed else {
      throw bad(text, name.isEmpty ? "no bucket in it" : "'\(name)' cannot be a bucket's name")
    }
    var prefix = parts.count > 1 ? String(parts[1]) : ""
    if !prefix.isEmpty, !prefix.hasSuffix("/") { prefix += "/" }
    return .bucket(name: name, prefix: prefix)
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
    .usage(
      "source '\(text)': \(reason); a source is s3://BUCKET[/PREFIX], http(s)://HOST/PATH/, hf://datasets/OWNER/NAME or file:///DIR"
    )
  }

  static func folderExists(_ path: String) -> Bool { FileStatus(of: path)?.isFolder ?? false }
}

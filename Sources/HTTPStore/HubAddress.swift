import Formats

/// A repository of the Hugging Face hub, `hf://[datasets/|spaces/]OWNER/NAME[@REVISION][/PATH]`.
public struct HubAddress: Equatable, Sendable {
  /// "datasets", "spaces" or "models".
  public var kind: String
  public var owner: String
  public var name: String
  /// A branch, tag or commit; `nil`: main.
  public var revision: String?
  /// Empty, or ends in "/".
  public var path: String

  /// `nil`: no such address.
  public init?(_ text: String) {
    guard text.lowercased().hasPrefix("hf://") else { return nil }
    var parts = text.dropFirst(5).split(separator: "/", omittingEmptySubsequences: false)
      .map(String.init)
    kind = "models"
    if parts.first == "datasets" || parts.first == "spaces" { kind = parts.removeFirst() }
    if parts.last == "" { parts.removeLast() }
    guard parts.count >= 2 else { return nil }
    owner = parts[0]
    let mark = parts[1].firstIndex(of: "@")
    name = String(parts[1][..<(mark ?? parts[1].endIndex)])
    var rest = parts.dropFirst(2)
    if let mark {
      var revision = String(parts[1][parts[1].index(after: mark)...])
      // Those of the hub's own conversions and of pull requests have slashes in their names.
      if revision == "refs", rest.count >= 2 {
        revision += "/" + rest.prefix(2).joined(separator: "/")
        rest = rest.dropFirst(2)
      }
      self.revision =
        PercentEncoding.decode(revision.utf8).map { String(decoding: $0, as: UTF8.self) }
        ?? revision
    }
    func isName(_ text: String) -> Bool {
      !text.isEmpty && text != "." && text != ".."
        && text.utf8.allSatisfy { PercentEncoding.isAlphanumeric($0) || "-._".utf8.contains($0) }
    }
    guard isName(owner), isName(name), revision != "",
      rest.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." })
    else { return nil }
    path = rest.isEmpty ? "" : rest.joined(separator: "/") + "/"
  }

  /// "datasets/OWNER/NAME" or "OWNER/NAME", as it stands in addresses.
  var repository: String { (kind == "models" ? "" : kind + "/") + "\(owner)/\(name)" }
  var api: String { "api/\(kind)/\(owner)/\(name)" }

  /// For messages.
  var text: String { "hf://\(repository)" + (revision.map { "@\($0)" } ?? "") }
}

/// The requests that a server (nginx, or nginx before another server) answered, in their order of
/// completion.
public struct RequestLog: Sendable {
  public struct Entry: Sendable, Equatable {
    public let method: String
    /// Path and query as the client sent them.
    public let target: String
    public let status: Int
    /// The Range header; empty without one.
    public let range: String
    public let bodyBytes: Int

    /// A listing, an object's bytes, or something else.
    public var isList: Bool {
      method == "GET"
        && (target.contains("list-type=") || target.contains("?delimiter=")
          || target.split(separator: "?")[0].hasSuffix("/"))
    }
    public var isGet: Bool { method == "GET" && !isList }
  }

  /// nginx's log_format for `read(_:)`: fields that a client can fill stand last or are escaped.
  static let format =
    "log_format witness escape=default '$request_method\t$status\t$body_bytes_sent\t$request_uri\t$http_range';"

  static func read(_ path: String) -> [Entry] {
    guard let text = try? readText(path) else { return [] }
    return text.split(separator: "\n").compactMap { line in
      let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
      guard fields.count == 5, let status = Int(fields[1]), let bytes = Int(fields[2]) else {
        return nil
      }
      return Entry(
        method: String(fields[0]), target: String(fields[3]), status: status,
        range: fields[4] == "-" ? "" : String(fields[4]), bodyBytes: bytes)
    }
  }
}

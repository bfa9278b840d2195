import Foundation

/// The numbers of `millrace stats --json`, by name, wherever in the document they stand.
public struct MountStats: Sendable {
  public let json: String

  public init(json: String) { self.json = json }

  /// The number under this name (`bytesFromDisk`), whatever room stands before it
  /// (`reads.bytesFromDisk`); `nil` where there is none. The document's own (`pid`) goes before one of
  /// a part of it (a caller's `pid`), then the first counts.
  public subscript(name: String) -> Int? {
    let document = try? JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any]
    return document?[name] as? Int ?? number(after: ".\(name)\"") ?? number(after: "\"\(name)\"")
  }

  private func number(after label: String) -> Int? {
    let text = Array(json.utf8)
    let wanted = Array(label.utf8)
    guard text.count > wanted.count else { return nil }
    for start in 0..<(text.count - wanted.count)
    where text[start..<(start + wanted.count)].elementsEqual(wanted) {
      let rest = text[(start + wanted.count)...].drop { $0 == 0x20 || $0 == 0x3a }
      let digits = rest.prefix { $0 >= 0x30 && $0 <= 0x39 }
      if let value = Int(String(decoding: digits, as: UTF8.self)) { return value }
    }
    return nil
  }

  /// Requests that went out once more on a busy machine: hedged or retried.
  public var sentTwice: Int { (self["store.hedges"] ?? 0) + (self["store.retries"] ?? 0) }

  /// As the subscript, but throws with the whole document where the name is missing.
  public func number(_ name: String) throws -> Int {
    guard let value = self[name] else { throw SupportError("stats have no \(name): \(json)") }
    return value
  }

  /// The first text under this name.
  public func text(_ name: String) throws -> String {
    guard let label = json.firstRange(of: "\"\(name)\" : \"") else {
      throw SupportError("stats have no \(name): \(json)")
    }
    return String(json[label.upperBound...].prefix { $0 != "\"" }.filter { $0 != "\\" })
  }
}

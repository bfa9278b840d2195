/// The numbers of `millrace stats --json`, by name, wherever in the document they stand.
public struct MountStats: Sendable {
  public let json: String

  public init(json: String) { self.json = json }

  /// The first number under this name (`bytesFromDisk`); `nil` where there is none.
  public subscript(name: String) -> Int? {
    let text = Array(json.utf8)
    let quoted = Array("\"\(name)\"".utf8)
    guard text.count > quoted.count else { return nil }
    for start in 0..<(text.count - quoted.count)
    where text[start..<(start + quoted.count)].elementsEqual(quoted) {
      let rest = text[(start + quoted.count)...].drop { $0 == 0x20 || $0 == 0x3a }
      let digits = rest.prefix { $0 >= 0x30 && $0 <= 0x39 }
      if let value = Int(String(decoding: digits, as: UTF8.self)) { return value }
    }
    return nil
  }

  /// As the subscript, but throws with the whole document where the name is missing.
  public func number(_ name: String) throws -> Int {
    guard let value = self[name] else { throw SupportError("stats have no \(name): \(json)") }
    return value
  }
}

/// What a tree must look like by the rules of docs/semantics.md, worked out from all keys at once.
struct PlainTree {
  enum Found: Hashable {
    case none, folder
    case file(etag: String, size: UInt64)
  }

  var keys: [[UInt8]: KeyStore.Object]

  private static let slash = UInt8(ascii: "/")

  func found(_ path: [UInt8]) -> Found {
    if path.isEmpty { return .folder }
    if keys.keys.contains(where: { $0.starts(with: path + [Self.slash]) }) { return .folder }
    return keys[path].map { .file(etag: $0.etag, size: $0.size) } ?? .none
  }

  /// Names in a folder, each with its kind.
  func names(in path: [UInt8]) -> [[UInt8]: Found] {
    let prefix = path.isEmpty ? [] : path + [Self.slash]
    var names: [[UInt8]: Found] = [:]
    for key in keys.keys where key.starts(with: prefix) && key.count > prefix.count {
      let name = Array(key[prefix.count...].prefix { $0 != Self.slash })
      if Self.isReachable(name) { names[name] = found(prefix + name) }
    }
    return names
  }

  static func isReachable(_ name: [UInt8]) -> Bool {
    !name.isEmpty && name.count <= 255 && name != [46] && name != [46, 46] && !name.contains(0)
  }
}

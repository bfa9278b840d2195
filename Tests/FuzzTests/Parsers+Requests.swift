import ObjectStore
import Prefetch

@testable import Control
@testable import FileSystem
@testable import Prefetch

#if canImport(millrace)
  @testable import millrace
#endif

/// What users and their programs write: orders, jobs, sources; and pages of listings, one after the other.
extension Parsers {
  static let ofRequests: [(name: String, run: @Sendable ([UInt8]) -> Void)] = [
    ("order", order), ("job", job), ("source", source), ("listing-builder", listingBuilder),
  ]

  @Sendable private static func order(_ bytes: [UInt8]) {
    guard let order = try? OrderText(bytes, mountPoint: "/mnt") else { return }
    for index in 0..<order.count {
      let path = order[index]
      precondition(!path.isEmpty && !path.contains(10))
    }
  }

  /// The first line is the query, the rest the body.
  @Sendable private static func job(_ bytes: [UInt8]) {
    let end = bytes.firstIndex(of: 10) ?? bytes.count
    let query = QueryText(String(decoding: bytes[..<end], as: UTF8.self))
    let body = Array(bytes[min(end + 1, bytes.count)...])
    precondition(query.path.first != UInt8(ascii: "/"))
    for type in [nil, "application/json"] {
      guard let request = try? JobText.request(.warm, query, body, type: type) else { continue }
      precondition(!request.paths.isEmpty && request.width >= 1)
    }
  }

  @Sendable private static func source(_ bytes: [UInt8]) {
    let text = String(decoding: bytes, as: UTF8.self)
    guard let source = try? SourceAddress(text, isFolder: { $0.hasPrefix("/") }) else { return }
    if case .bucket(let name, let prefix) = source {
      precondition(!name.isEmpty && (prefix.isEmpty || prefix.hasSuffix("/")))
    }
  }

  /// A key a line, as a store sends them in any order; an empty line ends a page, a slash makes a folder. Whatever
  /// comes, each name is there once and is found.
  @Sendable private static func listingBuilder(_ bytes: [UInt8]) {
    var builder = ListingBuilder(folder: ObjectKey("f/"))
    var page = ListPage(next: "more")
    for line in bytes.split(separator: 10, omittingEmptySubsequences: false) {
      if line.isEmpty {
        builder.add(page, isLast: false)
        page = ListPage(next: "more")
        continue
      }
      let key = ObjectKey(bytes: Array("f/".utf8) + line)
      if line.last == UInt8(ascii: "/") {
        page.addFolder(key)
      } else {
        page.add(ObjectAttributes(key: key, size: UInt64(line.count), modified: 1, etag: "e"))
      }
      _ = Array(line).withUnsafeBytes { builder.decides($0) }
    }
    builder.add(page, isLast: true)
    var names: Set<[UInt8]> = []
    for index in 0..<builder.entries.count {
      let name = Array(builder.entries[index].name)
      precondition(names.insert(name).inserted, "a name twice")
      precondition(builder.entries.index(of: name) == index, "a name that is not found")
    }
  }
}

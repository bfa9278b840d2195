import Formats
import ObjectStore
import Posix
import Synchronization
import Transport

@testable import HTTPStore
@testable import S3Store

/// A store whose objects are as large as it says: it answers listings and heads in the words of a source, through
/// that source's parser, and gives bytes that tell their position.
final class StatedStore: ObjectStore {
  enum Words: String, CaseIterable, Sendable { case s3, versions, nginx, hub }

  let displayName: String
  let identity: String
  let traits: StoreTraits
  /// What is stated of each name in the root.
  let sizes: [String: String]
  private let words: Words
  private let fetched = Atomic<UInt64>(0)

  init(_ words: Words, _ sizes: [String: String]) {
    self.words = words
    self.sizes = sizes
    displayName = "stated://\(words.rawValue)"
    identity = displayName
    traits = StoreTraits(listingHasAttributes: words != .nginx)
  }

  var bytesFetched: UInt64 { fetched.load(ordering: .relaxed) }

  func list(
    _ request: ListRequest, completion: @escaping @Sendable (Result<ListPage, StoreError>) -> Void
  ) {
    guard request.folder == .root else { return completion(.success(ListPage())) }
    do {
      completion(.success(try page()))
    } catch {
      completion(.failure(StoreError(.badReply, store: displayName, detail: "\(error)")))
    }
  }

  private func page() throws -> ListPage {
    let objects = sizes.sorted { $0.key < $1.key }
    switch words {
    case .s3:
      let all = objects.map {
        "<Contents><Key>\($0)</Key><Size>\($1)</Size><ETag>e</ETag></Contents>"
      }
      return try S3Listing(bytes("<ListBucketResult>\(all.joined())</ListBucketResult>")).page
    case .versions:
      let time = "<LastModified>2026-11-23T11:15:00.000Z</LastModified>"
      let all = objects.map { "<Version><Key>\($0)</Key><Size>\($1)</Size>\(time)</Version>" }
      return try S3VersionListing(
        bytes("<ListVersionsResult>\(all.joined())</ListVersionsResult>")
      ).page(at: 1 << 40, from: nil).page
    case .nginx:
      let all = objects.map { "{\"name\":\"\($0)\",\"type\":\"file\",\"size\":\"\($1)\"}" }
      return try HTTPIndex.parseJSON(bytes("[\(all.joined(separator: ","))]")).page(of: .root)
    case .hub:
      let all = objects.map { "{\"path\":\"\($0)\",\"type\":\"file\",\"size\":\"\($1)\"}" }
      let tree = HubTree(
        listing: try HTTPURL.parse("https://hub.example/tree/").url, modified: nil)
      return try tree.page(bytes("[\(all.joined(separator: ","))]"), of: .root)
    }
  }

  private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

  func head(
    _ key: ObjectKey, deadline: Instant,
    completion: @escaping @Sendable (Result<ObjectAttributes, StoreError>) -> Void
  ) {
    guard let size = sizes["\(key)"] else {
      return completion(
        .failure(StoreError(.notFound, store: displayName, key: key, detail: "none")))
    }
    let head = HTTPResponseHead(
      status: 200, headers: [(name: "content-length", value: size), (name: "etag", value: "e")])
    let error = StoreError(.badReply, store: displayName, key: key, detail: "no size")
    completion(S3HeadExchange.attributes(key, head).map { .success($0) } ?? .failure(error))
  }

  private static let run: UInt64 = 64 << 10

  /// What is at a position of every object: the same over each 64 KiB.
  static func byte(at position: UInt64) -> UInt8 {
    UInt8(truncatingIfNeeded: (position / run &+ 1) &* 0x9e37_79b9_7f4a_7c15 >> 40)
  }

  func fetch(_ request: FetchRequest, into sink: any FetchSink) -> any FetchTicket {
    var position = request.range.lowerBound
    while position < request.range.upperBound {
      let count = min(Self.run - position % Self.run, request.range.upperBound - position)
      let part = [UInt8](repeating: Self.byte(at: position), count: Int(count))
      part.withUnsafeBytes { sink.receive($0) }
      position += count
      fetched.add(count, ordering: .relaxed)
    }
    sink.finish(.success(()))
    return Ticket()
  }

  private final class Ticket: FetchTicket {
    func cancel() {}
  }

  func shutdown() {}
}

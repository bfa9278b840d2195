import Glibc
import Metrics
import ObjectStore
import Posix
import Transport

/// One page of a folder's listing.
final class S3ListExchange: Exchange {
  private struct State {
    var attempt = S3Site.Attempt()
    var page: ListPage?
  }

  private let request: ListRequest
  private let cursor: ListCursor?
  private let options: S3Options
  private let site: S3Site
  private let metrics: StoreMetrics
  private let completion: @Sendable (Result<ListPage, StoreError>) -> Void
  private let state = Lock(State())

  init(
    _ request: ListRequest, options: S3Options, site: S3Site, metrics: StoreMetrics,
    completion: @escaping @Sendable (Result<ListPage, StoreError>) -> Void
  ) {
    self.request = request
    cursor = request.cursor.flatMap(ListCursor.init)
    self.options = options
    self.site = site
    self.metrics = metrics
    self.completion = completion
  }

  func makeRequest(attempt: Int) throws(StoreError) -> HTTPRequest {
    if request.cursor != nil, cursor == nil {
      throw site.error(.badReply, key: request.folder, "the listing's cursor is not one of ours")
    }
    metrics.listRequests.add()
    var attempt = state.withLock { $0.attempt }
    defer { state.withLock { $0.attempt = attempt } }
    return try site.request(.get, key: nil, query: query, attempt: &attempt)
  }

  private var query: [(name: String, value: [UInt8])] {
    var query: [(name: String, value: [UInt8])] = [
      ("delimiter", Array("/".utf8)),
      ("max-keys", Array(String(max(1, min(request.limit, 1000))).utf8)),
      ("prefix", request.folder.bytes),
    ]
    if options.encodesListings { query.append(("encoding-type", Array("url".utf8))) }
    if !options.usesListV1 { query.append(("list-type", [UInt8(ascii: "2")])) }
    if let after = request.after, cursor == nil {
      query.append((options.usesListV1 ? "marker" : "start-after", after.bytes))
    }
    if let cursor {
      let name = options.usesListV1 ? "marker" : "continuation-token"
      query.append((name, Array(cursor.token.utf8)))
    }
    return query
  }

  func receive(head: HTTPResponseHead) -> BodyDisposition {
    .collect(limit: head.status == 200 ? S3Listing.sizeLimit : S3Failure.bodyLimit)
  }

  func receive(body: UnsafeRawBufferPointer) -> Bool { false }

  func attemptEnded(_ outcome: AttemptOutcome) -> Verdict {
    state.withLock { state in
      switch outcome {
      case .response(let head, let body): verdict(head, body, &state)
      case .rejected:
        .failed(site.error(.badReply, key: request.folder, "the answer was refused"))
      case .transferFailed(let failure, _):
        site.verdict(failure, key: request.folder, failsFast: request.failsFast)
      }
    }
  }

  private func verdict(
    _ head: HTTPResponseHead, _ body: [UInt8], _ state: inout State
  ) -> Verdict {
    guard head.status == 200 else {
      return site.verdict(
        S3Failure(head, body: body), subject: .listing, key: request.folder,
        attempt: &state.attempt)
    }
    do throws(S3Listing.Malformed) {
      return try accept(S3Listing(body), &state)
    } catch {
      let failure = S3Failure(head, body: body)
      if !failure.code.isEmpty {  // an error that was found after the 200 had been sent
        return site.verdict(
          failure, subject: .listing, key: request.folder, attempt: &state.attempt)
      }
      return .failed(bad("is no S3 listing: \(error.message)"))
    }
  }

  private func accept(_ listing: S3Listing, _ state: inout State) -> Verdict {
    var page = listing.page
    if let error = settle(&page) { return .failed(error) }
    if listing.isTruncated {
      guard let token = token(of: listing) else {
        return .failed(bad("is cut off and does not say where it goes on"))
      }
      guard let next = cursor.map({ $0.next(token) }) ?? ListCursor(first: token) else {
        return .failed(bad("goes round in a circle: a continuation token came twice"))
      }
      page.next = next.text
    }
    state.page = page
    return .succeeded
  }

  /// Version 1 gives a marker only with a delimiter, and some stores never: it is the last name then.
  private func token(of listing: S3Listing) -> String? {
    if !options.usesListV1 { return listing.nextToken.flatMap { $0.isEmpty ? nil : $0 } }
    let last =
      listing.nextMarker
      ?? (listing.objects.map(\.key) + listing.folders).max()
    return last.map { String(decoding: $0.bytes, as: UTF8.self) }
  }

  /// Takes the folder's own marker out: no entry, but the folder is there, be it empty otherwise.
  /// Returns what is wrong with a page that names something else than children.
  private func settle(_ page: inout ListPage) -> StoreError? {
    let (markers, stray) = page.withContents { contents in
      request.folder.bytes.withUnsafeBytes { folder -> (Int, ObjectKey?) in
        var markers = 0
        for item in page.items {
          let key = contents.key(item)
          let isBelow =
            key.count >= folder.count
            && (folder.isEmpty || memcmp(key.baseAddress!, folder.baseAddress!, folder.count) == 0)
          let name = isBelow ? UnsafeRawBufferPointer(rebasing: key[folder.count...]) : key
          if isBelow && name.isEmpty && !item.isFolder {
            markers += 1
            continue
          }
          let slash = name.firstIndex(of: UInt8(ascii: "/"))
          if !isBelow || slash != (item.isFolder ? name.count - 1 : nil) {
            return (markers, ObjectKey(bytes: Array(key)))
          }
        }
        return (markers, nil)
      }
    }
    if let stray {
      return bad("names '\(S3Failure.shown(stray.description))', which is not in the folder")
    }
    page.folderExists = markers > 0
    if markers > 0 {
      page.removeItems { $0.elementsEqual(request.folder.bytes) }
    }
    return nil
  }

  private func bad(_ what: String) -> StoreError {
    site.error(
      .badReply, key: request.folder, "the store's listing \(what)",
      advice: "check --endpoint-url")
  }

  func finish(_ result: Result<Void, StoreError>) {
    let page = state.withLock { $0.page }
    let result = site.named(result, key: request.folder).flatMap {
      () -> Result<ListPage, StoreError> in
      page.map { .success($0) }
        ?? .failure(site.error(.badReply, key: request.folder, "no answer"))
    }
    metrics.count(result)
    completion(result)
  }
}

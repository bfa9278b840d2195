import Glibc
import Metrics
import ObjectStore
import Posix
import Transport

/// One page of a folder's listing.
final class S3ListExchange: Exchange {
  private struct State {
    var attempt = S3Site.Attempt()
    /// How the last request was put.
    var dialect: S3Site.ListingDialect
    /// A listing that came whole, to be read when the exchange is over.
    var body: CollectedBody?
  }

  /// Where a listing is read: the transport's thread has bytes to move. False: it was not taken.
  typealias Worker = @Sendable (@escaping @Sendable () -> Void) -> Bool

  private let request: ListRequest
  private let cursor: ListCursor?
  /// The versions of this key alone.
  private let exactKey: ObjectKey?
  private let options: S3Options
  private let site: S3Site
  private let metrics: StoreMetrics
  private let work: Worker
  private let completion: @Sendable (Result<ListPage, StoreError>) -> Void
  private let state: Lock<State>

  init(
    _ request: ListRequest, exactKey: ObjectKey? = nil, options: S3Options, site: S3Site,
    metrics: StoreMetrics,
    work: @escaping Worker = { job in
      job()
      return true
    },
    completion: @escaping @Sendable (Result<ListPage, StoreError>) -> Void
  ) {
    self.request = request
    self.exactKey = exactKey
    cursor = request.cursor.flatMap(ListCursor.init)
    self.options = options
    self.site = site
    self.metrics = metrics
    self.work = work
    self.completion = completion
    state = Lock(State(dialect: site.dialect))
  }

  var mayBeHedged: Bool { true }

  func nextRequest(attempt: Int) -> NextRequest {
    if request.cursor != nil, cursor == nil {
      return .failed(site.error(.badReply, key: request.folder, "invalid listing cursor"))
    }
    let dialect = site.dialect
    var attempt = state.withLock { $0.attempt }
    let next = site.request(.get, key: nil, query: query(dialect), attempt: &attempt)
    if case .waiting(let signal, var cause) = next {
      cause.key = request.folder
      return .waiting(for: signal, cause: cause)
    }
    metrics.listRequests.add()
    state.withLock { state in
      state.dialect = dialect
      state.attempt = attempt
    }
    return next
  }

  private func query(_ dialect: S3Site.ListingDialect) -> [(name: String, value: [UInt8])] {
    var query: [(name: String, value: [UInt8])] = [
      ("max-keys", Array(String(max(1, min(request.limit, 1000))).utf8)),
      ("prefix", (exactKey ?? request.folder).bytes),
    ]
    if exactKey == nil { query.append(("delimiter", Array("/".utf8))) }
    if options.at != nil { return query + versionQuery(dialect) }
    if dialect.encodes { query.append(("encoding-type", Array("url".utf8))) }
    if !dialect.usesV1 { query.append(("list-type", [UInt8(ascii: "2")])) }
    if let after = request.after, cursor == nil {
      query.append((dialect.usesV1 ? "marker" : "start-after", after.bytes))
    }
    if let cursor {
      let name = dialect.usesV1 ? "marker" : "continuation-token"
      query.append((name, Array(cursor.token.utf8)))
    }
    return query
  }

  private func versionQuery(
    _ dialect: S3Site.ListingDialect
  ) -> [(name: String, value: [UInt8])] {
    var query: [(name: String, value: [UInt8])] = [("versions", [])]
    if dialect.encodes { query.append(("encoding-type", Array("url".utf8))) }
    if let place = cursor.flatMap({ S3VersionListing.Place(token: $0.token) }) {
      query.append(("key-marker", place.key))
      // Without it a listing goes on behind the key.
      if !place.version.isEmpty { query.append(("version-id-marker", Array(place.version.utf8))) }
    }
    return query
  }

  func receive(head: HTTPResponseHead) -> BodyDisposition {
    .collect(
      limit: head.status == 200 ? S3Listing.bodyLimit(keys: request.limit) : S3Failure.bodyLimit)
  }

  func receive(body: UnsafeRawBufferPointer) -> Bool { false }

  func attemptEnded(_ outcome: AttemptOutcome) -> Verdict {
    state.withLock { state in
      switch outcome {
      case .response(let head, let body): verdict(head, body, &state)
      case .rejected:
        .failed(site.error(.badReply, key: request.folder, "the response was rejected"))
      case .transferFailed(let failure, _):
        site.verdict(failure, key: request.folder, failsFast: request.failsFast)
      }
    }
  }

  private func verdict(
    _ head: HTTPResponseHead, _ body: CollectedBody, _ state: inout State
  ) -> Verdict {
    guard head.status == 200 else {
      let failure = S3Failure(head, body: body.bytes)
      if cursor == nil, Self.isAboutItsForm(failure), site.simplifyListings(after: state.dialect) {
        return .again
      }
      return site.verdict(
        S3Failure(head, body: body.bytes), subject: .listing, key: request.folder,
        attempt: &state.attempt)
    }
    let failure = S3Failure(head, body: body.bytes)
    if !failure.code.isEmpty {  // an error that was found after the 200 had been sent
      return site.verdict(failure, subject: .listing, key: request.folder, attempt: &state.attempt)
    }
    state.body = body
    return .succeeded
  }

  /// A parameter that the store does not know, and not what it says of bucket or keys.
  private static func isAboutItsForm(_ failure: S3Failure) -> Bool {
    switch failure.code {
    case "InvalidArgument", "NotImplemented", "InvalidRequest", "UnsupportedParameter": true
    default: failure.status == 501 && failure.code.isEmpty
    }
  }

  private func page(of body: [UInt8], at moment: Int64) throws(StoreError) -> ListPage {
    let listing: S3VersionListing
    do throws(S3Listing.Malformed) { listing = try S3VersionListing(body) } catch {
      throw bad("is not an S3 listing of versions: \(error.message)")
    }
    if listing.isCutOffWithoutMarker {
      throw bad("is truncated but has no continuation token")
    }
    let from = cursor.flatMap { S3VersionListing.Place(token: $0.token) }
    var (page, next) = listing.page(at: moment, from: from)
    if let exactKey {
      page.removeItems { !$0.elementsEqual(exactKey.bytes) }
      // Other keys begin like it; what follows them is none of its versions.
      if next?.key != exactKey.bytes || next?.isSettled == true { next = nil }
    } else if let error = settle(&page) {
      throw error
    }
    if let token = next?.token {
      guard let next = cursor.map({ $0.next(token) }) ?? ListCursor(first: token) else {
        throw bad("loops: a marker was repeated")
      }
      page.next = next.text
    }
    return page
  }

  private func page(of body: [UInt8]) throws(StoreError) -> ListPage {
    if let moment = options.at { return try page(of: body, at: moment) }
    let listing: S3Listing
    do throws(S3Listing.Malformed) { listing = try S3Listing(body) } catch {
      throw bad("is not an S3 listing: \(error.message)")
    }
    var page = listing.page
    if let error = settle(&page) { throw error }
    if listing.isTruncated {
      guard let token = token(of: listing) else {
        // Asked again, by `S3Store`, in the way of the first generation.
        if cursor == nil { site.learnListV1() }
        throw bad("is truncated but has no continuation token")
      }
      guard let next = cursor.map({ $0.next(token) }) ?? ListCursor(first: token) else {
        throw bad("loops: a continuation token was repeated")
      }
      page.next = next.text
    }
    return page
  }

  /// Version 1 gives a marker only with a delimiter, and some stores never: it is the last name then.
  private func token(of listing: S3Listing) -> String? {
    if !state.withLock({ $0.dialect.usesV1 }) {
      return listing.nextToken.flatMap { $0.isEmpty ? nil : $0 }
    }
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
      return bad("names '\(S3Failure.shown(stray.description))', which is not in the directory")
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
    let body = state.withLock { state in
      defer { state.body = nil }
      return state.body
    }
    switch site.named(result, key: request.folder) {
    case .failure(let error): end(.failure(error))
    case .success:
      let isTaken = work { [self] in
        guard let body else {
          return end(.failure(site.error(.badReply, key: request.folder, "no answer")))
        }
        do throws(StoreError) { end(.success(try page(of: body.bytes))) } catch {
          end(.failure(error))
        }
      }
      if !isTaken {
        end(.failure(site.error(.cancelled, key: request.folder, "shutting down")))
      }
    }
  }

  private func end(_ result: Result<ListPage, StoreError>) {
    metrics.count(result)
    completion(result)
  }
}

import ObjectStore
import Posix
import Transport

/// What the times of listings are worth: nginx's HTML has minutes, and in the server's own zone if it is set up so.
///
/// One file's headers decide it for the site: a version must be the same whether a listing or `head` tells of it.
enum ListedTimes {
  /// No listing has shown a size yet. A version of an earlier mount may be of either kind.
  case unknown
  /// Sizes and times come from `head` alone, and a strong ETag.
  case fromHead
  /// To the second.
  case seconds
  /// Whole minutes, in UTC: `head` says no more than that either.
  case minutes

  /// A version may have come from a listing that knows no seconds.
  var canBeMinutes: Bool { self == .minutes || self == .unknown }

  /// The whole minute that a time lies in.
  static func minute(of time: Int64) -> Int64 { time - ((time % 60) + 60) % 60 }

  /// Whether a Last-Modified is the time that a version has. `inMinutes`: a version of a whole minute may have come from
  /// a listing that knows no seconds.
  static func isSame(_ modified: Int64, asListed listed: Int64, inMinutes: Bool) -> Bool {
    modified == listed || inMinutes && minute(of: modified) == listed
  }
}

extension HTTPStore {
  /// Replies with the page of a folder, perhaps after a look at one of its files.
  func page(
    of folder: ObjectKey, _ document: HTTPDocumentExchange.Document, deadline: Instant,
    _ completion: @escaping @Sendable (Result<ListPage, StoreError>) -> Void
  ) {
    do throws(HTTPIndex.Unusable) {
      let index = try HTTPIndex.parse(
        document.body.bytes, contentType: document.contentType, folder: document.url)
      settle(index, of: folder, deadline: deadline) { completion(.success($0.page(of: folder))) }
    } catch {
      if error.isNoIndex {
        let detail = "the server returns no listing of this directory: \(error.reason)"
        return completion(
          .failure(site.failure(.unsupported, folder, detail, advice: Self.indexAdvice)))
      }
      let detail = "the server's listing cannot be read: \(error.reason)"
      completion(.failure(site.failure(.badReply, folder, detail, advice: Self.manifestAdvice)))
    }
  }

  private func settle(
    _ index: HTTPIndex, of folder: ObjectKey, deadline: Instant,
    _ reply: @escaping @Sendable (HTTPIndex) -> Void
  ) {
    guard index.timesAreMinutes else {
      // JSON: its times have seconds.
      if index.entries.contains(where: { $0.size != nil }) {
        listedTimes.withLock { $0 = .seconds }
      }
      return reply(index)
    }
    switch listedTimes.withLock({ $0 }) {
    case .minutes: reply(index)
    case .fromHead, .seconds: reply(index.withoutSizes)
    case .unknown: confirm(index, of: folder, deadline: deadline, reply)
    }
  }

  /// Compares one row with what the server says of the file itself.
  private func confirm(
    _ index: HTTPIndex, of folder: ObjectKey, deadline: Instant,
    _ reply: @escaping @Sendable (HTTPIndex) -> Void
  ) {
    guard let entry = index.entries.first(where: { $0.size != nil }) else { return reply(index) }
    let key = folder + entry.name
    let exchange = HTTPHeadExchange(site: site, key: key, onRangesIgnored: rangesIgnored) {
      [self] result in
      var found = index.withoutSizes
      if case .success(let file) = result {
        let isSame =
          file.size == entry.size
          && file.modified.map { ListedTimes.minute(of: $0) } == entry.modified
        let times: ListedTimes = listedTimes.withLock { times in
          if times == .unknown { times = isSame ? .minutes : .fromHead }
          return times
        }
        if times == .minutes { found = index }
      }
      let settled = found
      // The transport's thread has bytes to move.
      if !worker.submit({ reply(settled) }) { reply(settled) }
    }
    transport.start(exchange, deadline: deadline)
  }

  /// A file as a listing shows it.
  func asListed(_ file: ObjectAttributes) -> ObjectAttributes {
    guard !file.isOversized, let modified = file.modified else { return file }
    let listed: Int64
    switch listedTimes.withLock({ $0 }) {
    case .unknown, .fromHead: return file
    case .seconds: listed = modified
    case .minutes: listed = ListedTimes.minute(of: modified)
    }
    return ObjectAttributes(
      key: file.key, size: file.size, modified: listed, isArchived: file.isArchived)
  }
}

extension HTTPIndex {
  var withoutSizes: HTTPIndex {
    var index = self
    index.dropSizes()
    return index
  }
}

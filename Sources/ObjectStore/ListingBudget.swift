/// How much one listing may be, over all of its pages.
///
/// A store that gives page after page, each with a new token, would otherwise be listed until memory or patience ends.
/// A real folder of any size moves on: its pages bring names, and it ends.
public struct ListingBudget: Sendable {
  /// Bytes that the names of one listing may occupy.
  private let bytesMax: Int
  private var bytes = 0
  private var names = 0
  private var emptyInARow = 0

  /// S3 gives pages without a name where all it passed were delete markers: a million of them are a thousand pages.
  static let emptyInARowMax = 10_000
  /// Beside its key and etag, what an entry occupies: see `DirentBlock` of FileSystem.
  static let bytesPerName = 40

  public init(bytesMax: Int = .max) { self.bytesMax = bytesMax }

  /// Counts a page whose keys all begin with `prefix` bytes of the folder's own path. Returns what is wrong with it.
  public mutating func exceeded(by page: ListPage, prefix: Int = 0) -> String? {
    if page.isCutOff {
      return "one page of the listing needs more than \(ListPage.bytesMax >> 20) MiB"
    }
    names += page.items.count
    bytes += max(0, page.byteCount - page.items.count * prefix)
    bytes += page.items.count * Self.bytesPerName
    emptyInARow = page.isEmpty ? emptyInARow + 1 : 0
    if emptyInARow > Self.emptyInARowMax {
      return "the listing does not end: \(emptyInARow) pages in a row without entries"
    }
    if bytes > bytesMax {
      return "the listing is too large: \(names) names need more than \(bytesMax >> 20) MiB"
    }
    return nil
  }
}

import ObjectStore
import Posix

/// Where a listing goes on, as the opaque string that callers hold between pages.
///
/// Besides the store's token it carries what Brent's cycle detection needs, so that a store whose
/// tokens loop, in however long a circle, is noticed without anybody keeping the tokens.
struct ListCursor: Equatable {
  var token: String
  private var pages: UInt64 = 1
  private var mark: UInt64

  /// After the first page.
  init(first token: String) {
    self.token = token
    mark = Self.hash(token)
  }

  init?(_ text: String) {
    let parts = text.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false)
    guard parts.count == 3, let pages = UInt64(parts[0], radix: 16),
      let mark = UInt64(parts[1], radix: 16)
    else { return nil }
    self.pages = pages
    self.mark = mark
    token = String(parts[2])
  }

  var text: String {
    String(pages, radix: 16) + "." + String(mark, radix: 16) + "." + token
  }

  /// After the page that this cursor asked for; `nil`: the token was seen before.
  func next(_ token: String) -> ListCursor? {
    let hash = Self.hash(token)
    if hash == mark || token == self.token { return nil }
    var next = self
    next.token = token
    next.pages += 1
    // A new mark at each power of two: a circle of any length comes round to one.
    if next.pages & (next.pages - 1) == 0 { next.mark = hash }
    return next
  }

  private static func hash(_ text: String) -> UInt64 { FNV1a(text.utf8).value }
}

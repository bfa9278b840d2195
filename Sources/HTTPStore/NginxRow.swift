import Formats
import ObjectStore

/// What a row of nginx's HTML index says of a file: `<a href="f">f</a>   21-Oct-2015 07:28   1234`.
///
/// A size of digits alone is exact: by default all are (`autoindex_exact_size on`), else those below 10,000 bytes, and
/// larger ones end in K, M or G. The time is a whole minute, in UTC unless `autoindex_localtime` is on.
struct NginxRow: Equatable {
  var size: UInt64
  var modified: Int64

  /// Bytes of a row that are looked at: a name of 255 bytes, each an entity, and the columns.
  private static let lengthMax = 4096

  /// `rest`: the page from the end of the row's `<a ...` tag on. Nil: it is another server's row, or its size is
  /// rounded.
  init?(after rest: ArraySlice<UInt8>) {
    let line = rest.prefix(Self.lengthMax).prefix { $0 != UInt8(ascii: "\n") }
    guard let close = Self.end(of: "</a>", in: line) else { return nil }
    let columns = line[close...].split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\r") }
      .map { String(decoding: $0, as: UTF8.self) }
    guard columns.count == 3, columns[2].utf8.allSatisfy({ (48...57).contains($0) }),
      let size = ObjectSize.parse(columns[2]),
      let modified = UTCTime.indexMinute(columns[0], columns[1])
    else { return nil }
    (self.size, self.modified) = (size, modified)
  }

  private static func end(of text: StaticString, in line: ArraySlice<UInt8>) -> Int? {
    let wanted = text.withUTF8Buffer { Array($0) }
    var at = line.startIndex
    while at + wanted.count <= line.endIndex {
      if line[at..<at + wanted.count].elementsEqual(wanted) { return at + wanted.count }
      at += 1
    }
    return nil
  }
}

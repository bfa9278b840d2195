import Formats

/// The links of an index page that lead to something directly in the folder it shows.
///
/// Everything else on the page (parent, column headers, style sheets, other sites) is passed over,
/// so pages of Apache, nginx, lighttpd, Python and rclone need no code of their own. Sizes are taken from nginx's rows
/// alone (`NginxRow`): the others round them, or have none.
enum HTMLIndex {
  static func parse(
    _ body: [UInt8], folder: HTTPURL
  ) throws(HTTPIndex.Unusable) -> HTTPIndex {
    guard let here = PercentEncoding.decode(folder.path.utf8), here.last == UInt8(ascii: "/") else {
      throw HTTPIndex.Unusable(reason: "the URL of the page is not a directory's")
    }
    var entries: [HTTPIndex.Entry] = []
    var hasParentLink = false
    var scanner = LinkScanner(bytes: body)
    while let link = scanner.next() {
      if link == Array("../".utf8) || link == Array("..".utf8) { hasParentLink = true }
      guard var entry = entry(of: link, in: folder, here) else { continue }
      if !entry.isFolder, let row = NginxRow(after: scanner.rest) {
        (entry.size, entry.modified) = (row.size, row.modified)
      }
      guard entries.count < HTTPIndex.entriesMax else { throw HTTPIndex.tooMany }
      entries.append(entry)
    }
    guard !entries.isEmpty || hasParentLink || callsItselfIndex(body) else {
      throw HTTPIndex.Unusable(reason: "the page links to no files", isNoIndex: true)
    }
    var index = HTTPIndex(entries: HTTPIndex.unique(entries))
    index.timesAreMinutes = index.entries.contains { !$0.isFolder && $0.size != nil }
    // One rounded size shows that the server rounds, and that files need the other way to their version anyway.
    if index.entries.contains(where: { !$0.isFolder && $0.size == nil }) { index.dropSizes() }
    return index
  }

  private static func entry(
    of link: [UInt8], in folder: HTTPURL, _ here: [UInt8]
  ) -> HTTPIndex.Entry? {
    guard !link.contains(UInt8(ascii: "?")), !link.contains(UInt8(ascii: "#")) else { return nil }
    // Bytes that are no UTF-8 are escaped first: a String would replace them.
    let text = String(
      decoding: link.flatMap { $0 < 0x80 ? [$0] : PercentEncoding.escape($0) }, as: UTF8.self)
    guard let url = try? folder.resolve(text), url.origin == folder.origin,
      let path = PercentEncoding.decode(url.path.utf8), path.starts(with: here)
    else { return nil }
    var name = Array(path.dropFirst(here.count))
    let isFolder = name.last == UInt8(ascii: "/")
    if isFolder { name.removeLast() }
    // An escaped "/" (%2F) is not a separator: such a name cannot be shown.
    let slashes = url.path.utf8.filter { $0 == UInt8(ascii: "/") }.count
    let ours = folder.path.utf8.filter { $0 == UInt8(ascii: "/") }.count
    guard ObjectName.isSegment(name), slashes == ours + (isFolder ? 1 : 0) else { return nil }
    return HTTPIndex.Entry(name: name, isFolder: isFolder, size: nil, modified: nil)
  }

  /// An empty folder's page has no links, but a title.
  private static func callsItselfIndex(_ body: [UInt8]) -> Bool {
    let start = String(decoding: body.prefix(4096), as: UTF8.self).lowercased()
    return start.contains("index of") || start.contains("directory listing")
  }
}

/// Walks the `href`s of the `<a>` tags of a page; entities are decoded.
struct LinkScanner {
  /// A longer link leads to nothing that a mount could show: a path has 4,096 bytes at most, each written as "%XX" or as
  /// an entity.
  static let linkLimit = 64 << 10

  let bytes: [UInt8]
  private var position = 0

  init(bytes: [UInt8]) { self.bytes = bytes }

  /// What follows the link that was found last: from the end of its tag on.
  var rest: ArraySlice<UInt8> { bytes[min(position, bytes.count)...] }

  mutating func next() -> [UInt8]? {
    while let open = bytes[position...].firstIndex(of: UInt8(ascii: "<")) {
      position = open + 1
      if bytes[position...].starts(with: "!--".utf8) {
        skipComment()
        continue
      }
      guard position + 1 < bytes.count, bytes[position] | 0x20 == UInt8(ascii: "a"),
        isSpace(bytes[position + 1])
      else { continue }
      position += 1
      if let link = readHref() { return link }
    }
    position = bytes.count
    return nil
  }

  private mutating func skipComment() {
    while position < bytes.count, !bytes[position...].starts(with: "-->".utf8) { position += 1 }
  }

  /// Attributes up to the end of the tag; the first `href` wins.
  private mutating func readHref() -> [UInt8]? {
    var link: [UInt8]?
    while true {
      while position < bytes.count, isSpace(bytes[position]) || bytes[position] == 47 {
        position += 1
      }
      guard position < bytes.count else { return nil }
      if bytes[position] == UInt8(ascii: ">") { return link }
      let start = position
      while position < bytes.count, !isSpace(bytes[position]),
        bytes[position] != UInt8(ascii: "="), bytes[position] != UInt8(ascii: ">")
      { position += 1 }
      let name = bytes[start..<position].map { $0 | 0x20 }
      guard let value = readAttributeValue() else {
        if position == start { position += 1 }
        continue
      }
      if name == Array("href".utf8), link == nil {
        link = value.count <= Self.linkLimit ? HTMLEntities.decode(value) : []
      }
    }
  }

  /// `nil`: the attribute has no value.
  private mutating func readAttributeValue() -> ArraySlice<UInt8>? {
    var ahead = position
    while ahead < bytes.count, isSpace(bytes[ahead]) { ahead += 1 }
    guard ahead < bytes.count, bytes[ahead] == UInt8(ascii: "=") else { return nil }
    position = ahead + 1
    while position < bytes.count, isSpace(bytes[position]) { position += 1 }
    guard position < bytes.count else { return nil }
    let quote = bytes[position]
    if quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'") {
      let start = position + 1
      let end = bytes[start...].firstIndex(of: quote) ?? bytes.count
      position = min(end + 1, bytes.count)
      return bytes[start..<end]
    }
    let start = position
    while position < bytes.count, !isSpace(bytes[position]), bytes[position] != UInt8(ascii: ">") {
      position += 1
    }
    return bytes[start..<position]
  }

  private func isSpace(_ byte: UInt8) -> Bool { [32, 10, 13, 9, 12].contains(byte) }
}

/// The entities that index pages use: numbers, and the five of XML.
enum HTMLEntities {
  static func decode(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
    var out: [UInt8] = []
    var position = bytes.startIndex
    while position < bytes.endIndex {
      let byte = bytes[position]
      // The longest, "&#x10FFFF;", is 10 bytes.
      if byte == UInt8(ascii: "&"),
        let end = bytes[position...].prefix(12).firstIndex(of: UInt8(ascii: ";")),
        let scalar = CharacterReference.scalar(
          String(decoding: bytes[(position + 1)..<end], as: UTF8.self))
      {
        out += Array(String(Character(scalar)).utf8)
        position = end + 1
      } else {
        out.append(byte)
        position += 1
      }
    }
    return out
  }
}

import ObjectStore

/// Turns pages of a store's listing into the entries of a directory. A name becomes final as soon as no
/// later page can change it.
///
/// A store sorts by key, where a folder counts with its "/": a file `a`, then `a-1`, then the folder
/// `a/`. The folder hides the file; so a file waits until a key has come that is not before `a/`. The
/// files that wait lie within each other (`a`, `a-`, `a--`), which makes them a stack no deeper than
/// a name is long, and entries leave in the order of "name/".
struct ListingBuilder {
  /// An entry to be, its bytes still where they came from.
  struct Item {
    var name: UnsafeRawBufferPointer
    var etag: UnsafeRawBufferPointer
    /// Nil where a head is needed for the true version.
    var size: UInt64?
    var modified: Int64
    var isFolder: Bool
    var isArchived: Bool
  }

  /// An item that outlives its page.
  private struct Held {
    var name: [UInt8]
    var etag: [UInt8]
    var size: UInt64?
    var modified: Int64
    var isFolder: Bool
    var isArchived: Bool

    init(_ item: Item) {
      name = Array(item.name)
      etag = Array(item.etag)
      size = item.size
      modified = item.modified
      isFolder = item.isFolder
      isArchived = item.isArchived
    }

    func withItem(_ body: (Item) -> Void) {
      name.withUnsafeBytes { name in
        etag.withUnsafeBytes { etag in
          body(
            Item(
              name: name, etag: etag, size: size, modified: modified, isFolder: isFolder,
              isArchived: isArchived))
        }
      }
    }
  }

  private(set) var entries = DirentTable()
  /// Names that no path reaches, files that a folder of the same name hides, and objects of a size that cannot
  /// be read.
  private(set) var hidden = 0
  private(set) var isComplete = false
  private let folder: ObjectKey
  /// False where a head is needed for the true version of an object.
  private let listingHasAttributes: Bool
  private var waiting: [Held] = []
  /// What came out of order, until the end.
  private var tail: [Held] = []
  private(set) var isOrdered = true
  /// The last key's part below the folder, "/" included.
  private(set) var last: [UInt8] = []

  init(folder: ObjectKey, listingHasAttributes: Bool = true) {
    self.folder = folder
    self.listingHasAttributes = listingHasAttributes
  }

  /// One that is complete already.
  init(folder: ObjectKey, entries: DirentTable, hidden: Int) {
    self.folder = folder
    listingHasAttributes = true
    self.entries = entries
    self.hidden = hidden
    isComplete = true
  }

  /// Takes one page; the last one completes the entries.
  mutating func add(_ page: ListPage, isLast: Bool) {
    hidden += page.oversized
    page.withContents { contents in
      let order = sorted(page, contents)
      for (position, index) in order.enumerated() {
        let following = position + 1 < order.count ? key(page, contents, order[position + 1]) : nil
        take(page.items[index], contents, key(page, contents, index), before: following)
      }
      if isOrdered, let index = order.last { last = Array(key(page, contents, index)) }
    }
    if isLast { finish() } else { entries.seal() }
  }

  private mutating func finish() {
    while let item = waiting.popLast() { item.withItem { emit($0) } }
    if !tail.isEmpty { mergeTail() }
    entries.finish()
    isComplete = true
  }

  /// Whether the entries so far say all there is to say of `name`.
  func decides(_ name: UnsafeRawBufferPointer) -> Bool {
    if isComplete { return true }
    guard isOrdered else { return false }
    return last.withUnsafeBytes { NameRules.order(key: $0, ofFolder: name) >= 0 }
      && !waiting.contains { $0.name.elementsEqual(name) }
  }

  private func key(
    _ page: ListPage, _ contents: ListPage.Contents, _ index: Int
  ) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: contents.key(page.items[index])[folder.bytes.count...])
  }

  /// The indices of the page's items that are below the folder, in the order of their keys, each
  /// key once.
  private func sorted(_ page: ListPage, _ contents: ListPage.Contents) -> [Int] {
    var order: [Int] = []
    order.reserveCapacity(page.items.count)
    var isSorted = true
    let prefix = folder.bytes
    for (index, item) in page.items.enumerated() {
      let whole = contents.key(item)
      guard whole.count > prefix.count || (whole.count == prefix.count && !item.isFolder),
        whole.starts(with: prefix)
      else { continue }
      if let previous = order.last {
        let step = NameRules.compare(key(page, contents, previous), key(page, contents, index))
        if step == 0 { continue }
        if step > 0 { isSorted = false }
      }
      order.append(index)
    }
    return isSorted ? order : onceEach(order, page, contents)
  }

  /// A page that is not sorted may have a key again anywhere: the first one counts.
  private func onceEach(
    _ indices: [Int], _ page: ListPage, _ contents: ListPage.Contents
  ) -> [Int] {
    let sorted = indices.sorted { left, right in
      let step = NameRules.compare(key(page, contents, left), key(page, contents, right))
      return step == 0 ? left < right : step < 0
    }
    var order: [Int] = []
    order.reserveCapacity(sorted.count)
    for index in sorted {
      if let previous = order.last,
        NameRules.compare(key(page, contents, previous), key(page, contents, index)) == 0
      {
        continue
      }
      order.append(index)
    }
    return order
  }

  private mutating func take(
    _ source: ListPage.Item, _ contents: ListPage.Contents, _ key: UnsafeRawBufferPointer,
    before following: UnsafeRawBufferPointer?
  ) {
    if isOrdered && !last.isEmpty {
      let step = last.withUnsafeBytes { NameRules.compare(key, $0) }
      if step == 0 { return }
      if step < 0 { leaveOrder() } else { last = [] }
    }
    let isFolder = source.isFolder
    let name =
      isFolder && key.last == NameRules.slash
      ? UnsafeRawBufferPointer(rebasing: key.dropLast()) : key
    guard NameRules.isReachable(name) else {
      hidden += 1
      return
    }
    let item = Item(
      name: name, etag: contents.etag(source),
      size: listingHasAttributes || isFolder ? source.size : nil, modified: source.modified ?? 0,
      isFolder: isFolder, isArchived: source.isArchived)
    if isOrdered { settle(item, key: key, before: following) } else { tail.append(Held(item)) }
  }

  /// `following`: the next key of the page. Most files need not wait, since it is behind their folder.
  private mutating func settle(
    _ item: Item, key: UnsafeRawBufferPointer, before following: UnsafeRawBufferPointer?
  ) {
    while let top = waiting.last {
      let order = top.name.withUnsafeBytes { NameRules.order(key: key, ofFolder: $0) }
      if order < 0 { break }
      waiting.removeLast()
      if item.isFolder && order == 0 { hidden += 1 } else { top.withItem { emit($0) } }
    }
    if item.isFolder { return emit(item) }
    guard let following else { return waiting.append(Held(item)) }
    let order = NameRules.order(key: following, ofFolder: item.name)
    if order > 0 { emit(item) } else { waiting.append(Held(item)) }
  }

  private mutating func emit(_ item: Item) { entries.append(item) }

  private mutating func leaveOrder() {
    isOrdered = false
    tail += waiting
    waiting = []
  }

  /// Second run: what came late, once each, folders before files of the same name.
  private mutating func mergeTail() {
    tail.sort { left, right in
      if left.name != right.name { return NameRules.precedes(left.name, right.name) }
      return left.isFolder && !right.isFolder
    }
    let items = tail
    tail = []
    entries.startSecondRun()
    var turned: [Int] = []
    var previous: Held?
    for item in items {
      if let previous, previous.name == item.name {
        if previous.isFolder != item.isFolder { hidden += 1 }
      } else if let index = entries.index(of: item.name) {
        if entries[index].isFolder != item.isFolder {
          hidden += 1
          // A folder that was there hides a late file of its name: that one changes nothing.
          if item.isFolder { turned.append(index) }
        }
      } else {
        item.withItem { emit($0) }
      }
      previous = item
    }
    entries.turnIntoFolders(turned)
  }
}

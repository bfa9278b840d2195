import ObjectStore

/// Turns pages of a store's listing into the entries of a folder, settling each name as soon as no
/// later page can change it.
///
/// A store sorts by key, where a folder counts with its "/": a file `a`, then `a-1`, then the folder
/// `a/`. The folder hides the file; so a file waits until a key has come that is not before `a/`. The
/// files that wait lie within each other (`a`, `a-`, `a--`), which makes them a stack no deeper than
/// a name is long, and entries leave in the order of "name/".
struct ListingBuilder {
  private struct Item {
    var name: ArraySlice<UInt8>
    var seen: Seen
  }

  private(set) var entries = ListingEntries()
  /// Names that no path reaches, and files that a folder of the same name hides.
  private(set) var hidden = 0
  private(set) var isComplete = false
  private let folder: ObjectKey
  /// False where a head is needed for the true version of an object.
  private let listingHasAttributes: Bool
  private var waiting: [Item] = []
  /// What came out of order, until the end.
  private var tail: [Item] = []
  private var isOrdered = true
  /// The last key's part below the folder, "/" included.
  private var last: ArraySlice<UInt8> = []

  init(folder: ObjectKey, listingHasAttributes: Bool = true) {
    self.folder = folder
    self.listingHasAttributes = listingHasAttributes
  }

  /// Takes one page, its `next` aside.
  mutating func add(_ page: ListPage) {
    for (key, item) in sorted(page) {
      if isOrdered && !last.isEmpty && key.lexicographicallyPrecedes(last) { leaveOrder() }
      if isOrdered && key == last { continue }
      last = key
      guard let item else {
        hidden += 1
        continue
      }
      if isOrdered { settle(item, key: key) } else { tail.append(item) }
    }
  }

  /// No page follows.
  mutating func finish() {
    while let item = waiting.popLast() { emit(item) }
    if !tail.isEmpty { mergeTail() }
    entries.compact()
    isComplete = true
  }

  /// Whether the entries so far say all there is to say of `name`.
  func decides(_ name: [UInt8]) -> Bool {
    if isComplete { return true }
    guard isOrdered else { return false }
    return !last.lexicographicallyPrecedes(name + [UInt8(ascii: "/")])
      && !waiting.contains { $0.name.elementsEqual(name) }
  }

  /// The page's keys below the folder, in order; without an item where no path reaches the name.
  private func sorted(_ page: ListPage) -> [(key: ArraySlice<UInt8>, item: Item?)] {
    var found: [(key: ArraySlice<UInt8>, item: Item?)] = []
    found.reserveCapacity(page.objects.count + page.folders.count)
    for object in page.objects {
      guard object.key.hasPrefix(folder) else { continue }
      let name = object.key.bytes[folder.bytes.count...]
      let seen = Seen(
        kind: .file, size: listingHasAttributes ? object.size : nil,
        modified: object.modified ?? 0, etag: object.etag, isArchived: object.isArchived)
      found.append((name, NameRules.isReachable(name) ? Item(name: name, seen: seen) : nil))
    }
    for key in page.folders {
      guard key.hasPrefix(folder), key.bytes.count > folder.bytes.count else { continue }
      let part = key.bytes[folder.bytes.count...]
      let name = part.last == UInt8(ascii: "/") ? part.dropLast() : part
      found.append((part, NameRules.isReachable(name) ? Item(name: name, seen: .folder) : nil))
    }
    found.sort { $0.key.lexicographicallyPrecedes($1.key) }
    return found
  }

  private mutating func settle(_ item: Item, key: ArraySlice<UInt8>) {
    while let top = waiting.last {
      let end = top.name + [UInt8(ascii: "/")]
      if key.lexicographicallyPrecedes(end) { break }
      waiting.removeLast()
      if item.seen.kind == .folder && key == end { hidden += 1 } else { emit(top) }
    }
    if item.seen.kind == .file { waiting.append(item) } else { emit(item) }
  }

  private mutating func emit(_ item: Item) {
    if entries.hasRoom(for: item.name.count, etag: item.seen.etag.utf8.count) {
      entries.append(name: item.name, item.seen)
    } else {
      hidden += 1
    }
  }

  private mutating func leaveOrder() {
    isOrdered = false
    tail += waiting
    waiting = []
  }

  /// Second run: what came late, once each, folders before files of the same name.
  private mutating func mergeTail() {
    tail.sort { left, right in
      if left.name != right.name { return NameRules.precedes(left.name, right.name) }
      return left.seen.kind == .folder && right.seen.kind == .file
    }
    let items = tail
    tail = []
    entries.startSecondRun()
    var previous: Item?
    for item in items {
      if let previous, previous.name == item.name {
        if previous.seen.kind != item.seen.kind { hidden += 1 }
      } else if let index = entries.index(of: item.name) {
        if entries.isFolder(index) != (item.seen.kind == .folder) {
          hidden += 1
          entries.turnIntoFolder(index)
        }
      } else {
        emit(item)
      }
      previous = item
    }
  }
}

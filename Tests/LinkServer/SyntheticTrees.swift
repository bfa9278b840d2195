/// The trees of a bucket, as one sorted list of keys. A bucket of trees holds nothing else.
struct SyntheticTrees: Sendable {
  private var trees: [SyntheticTree] = []

  /// False: its keys would lie among another's.
  mutating func add(_ tree: SyntheticTree) -> Bool {
    let isApart = trees.allSatisfy {
      !$0.prefix.starts(with: tree.prefix) && !tree.prefix.starts(with: $0.prefix)
    }
    guard isApart else { return false }
    trees.append(tree)
    // None begins with another, so their keys come in the order of their prefixes.
    trees.sort { $0.prefix.lexicographicallyPrecedes($1.prefix) }
    return true
  }

  func entry(_ key: [UInt8]) -> Objects.Entry? {
    for tree in trees where key.starts(with: tree.prefix) {
      return tree.index(of: key).map { tree.entry($0) }
    }
    return nil
  }

  /// What of a page has been written.
  struct Progress {
    var count = 0
    /// Where the next page goes on; nil at the end.
    var next: [UInt8]?
  }

  /// Writes the page that `query` asks for. By the rules of `Objects.list`, without a copy of a key.
  func write(_ query: ListQuery, into page: PageBytes) -> Progress {
    var progress = Progress()
    var last: [UInt8] = []
    let from = query.firstKey
    for tree in trees
    where tree.prefix.starts(with: query.prefix) || query.prefix.starts(with: tree.prefix) {
      let isFull = write(tree, query, from, into: page, &progress.count, &last)
      if isFull {
        progress.next = last.isEmpty ? nil : last
        break
      }
    }
    return progress
  }

  /// True: there would be more, but the page is full. `last`: the last name in the page.
  private func write(
    _ tree: SyntheticTree, _ query: ListQuery, _ from: [UInt8], into page: PageBytes,
    _ count: inout Int, _ last: inout [UInt8]
  ) -> Bool {
    var index = tree.firstIndex(from: from)
    var key: [UInt8] = []
    var etag: [UInt8] = []
    while index < tree.count {
      tree.setKey(index, in: &key)
      guard key.starts(with: query.prefix) else { return false }
      if key == query.start {
        index += 1
        continue
      }
      if let end = query.endOfCommonPrefix(of: key) {
        index = tree.firstIndex(behind: index, sharing: end)
        key.removeLast(key.count - end)
        if key == query.start || key == last { continue }
        if count == query.limit { return true }
        page.commonPrefix(key, isEncoded: query.isEncoded)
      } else {
        if count == query.limit { return true }
        tree.setETag(index, in: &etag)
        page.object(
          key, isEncoded: query.isEncoded, modified: tree.modified(index), size: tree.size(index),
          etag: etag)
        index += 1
      }
      count += 1
      swap(&last, &key)
    }
    return false
  }
}

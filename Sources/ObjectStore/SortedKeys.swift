/// Keys that are held in memory, in order of their bytes and each once: found, and listed directory by directory, as a
/// manifest or a snapshot does in place of a store.
public struct SortedKeys {
  private let count: Int
  private let key: (Int) -> ArraySlice<UInt8>

  /// `key`: of an index below `count`.
  public init(count: Int, key: @escaping (Int) -> ArraySlice<UInt8>) {
    self.count = count
    self.key = key
  }

  /// Nil: there is no such key.
  public func index(of key: ObjectKey) -> Int? {
    let index = firstIndex(notBefore: key.bytes[...])
    return index < count && self.key(index) == key.bytes[...] ? index : nil
  }

  /// At most `limit` names (at least one) of a directory, from the index in `cursor` on. `add`: puts the object of an
  /// index into the page.
  public func page(
    of folder: ObjectKey, cursor: String?, limit: Int, add: (Int, inout ListPage) -> Void
  ) -> ListPage {
    var page = ListPage()
    var index = cursor.flatMap { Int($0) } ?? firstIndex(notBefore: folder.bytes[...])
    var taken = 0
    while index >= 0, index < count, case let key = key(index), key.starts(with: folder.bytes) {
      if taken == max(1, limit) {
        page.next = String(index)
        break
      }
      taken += 1
      if let slash = key.dropFirst(folder.bytes.count).firstIndex(of: UInt8(ascii: "/")) {
        page.addFolder(ObjectKey(bytes: Array(key[...slash])))
        // "0" follows "/": past everything in that folder.
        index = firstIndex(notBefore: key[..<slash] + [UInt8(ascii: "0")])
      } else {
        add(index, &page)
        index += 1
      }
    }
    return page
  }

  private func firstIndex(notBefore wanted: ArraySlice<UInt8>) -> Int {
    var low = 0
    var high = count
    while low < high {
      let middle = (low + high) / 2
      if key(middle).lexicographicallyPrecedes(wanted) { low = middle + 1 } else { high = middle }
    }
    return low
  }
}

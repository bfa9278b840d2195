import ObjectStore
import Posix
import Testing

@testable import FileSystem

@Suite struct ListingBuilderTests {
  /// What the names of a folder must be, from all keys below it at once.
  private func model(_ keys: Set<[UInt8]>) -> [[UInt8]: NodeAttributes.Kind] {
    var tree: [[UInt8]: NodeAttributes.Kind] = [:]
    for key in keys {
      let slash = key.firstIndex(of: UInt8(ascii: "/"))
      let name = Array(key[..<(slash ?? key.count)])
      let bad =
        name.isEmpty || name.count > 255 || name.contains(0) || name == [46] || name == [46, 46]
      if bad { continue }
      if slash != nil { tree[name] = .folder } else if tree[name] == nil { tree[name] = .file }
    }
    return tree
  }

  private func randomKeys(_ random: inout some RandomNumberGenerator) -> Set<[UInt8]> {
    let alphabet: [UInt8] = Array("aab-/./\u{e9}".utf8) + [0, 0x2e, 0xff]
    var keys: Set<[UInt8]> = []
    for _ in 0..<Int.random(in: 0...40, using: &random) {
      let length = Int.random(in: 1...5, using: &random)
      keys.insert((0..<length).map { _ in alphabet.randomElement(using: &random)! })
    }
    if Bool.random(using: &random) { keys.insert(Array(repeating: 97, count: 256)) }
    return keys
  }

  /// What a store lists under delimiter "/": objects, and common prefixes, in order of bytes.
  private func listed(_ keys: Set<[UInt8]>, under folder: [UInt8]) -> [[UInt8]] {
    let parts = keys.map { key in
      key.firstIndex(of: UInt8(ascii: "/")).map { Array(key[...$0]) } ?? key
    }
    return Set(parts).sorted { $0.lexicographicallyPrecedes($1) }.map { folder + $0 }
  }

  private func page(_ keys: ArraySlice<[UInt8]>, next: String?) -> ListPage {
    let isFolder = { (key: [UInt8]) in key.last == UInt8(ascii: "/") }
    return ListPage(
      objects: keys.filter { !isFolder($0) }.map {
        ObjectAttributes(key: ObjectKey(bytes: $0), size: UInt64($0.count), modified: 1, etag: "e")
      }, folders: keys.filter(isFolder).map { ObjectKey(bytes: $0) }, next: next)
  }

  @Test func anyKeysInAnyPagesGiveTheTreeOfAllKeys() {
    for seed in 0..<3000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let keys = randomKeys(&random)
      var sorted = listed(keys, under: Array("f/".utf8))
      let isOrdered = seed % 4 != 0
      if !isOrdered {
        // An index page of a web server may link a file twice.
        sorted += sorted.shuffled(using: &random).prefix(Int.random(in: 0...6, using: &random))
        sorted.shuffle(using: &random)
      }
      var builder = ListingBuilder(folder: ObjectKey("f/"))
      var shown: [[UInt8]] = []
      var rest = sorted[...]
      while !rest.isEmpty {
        let part = rest.prefix(Int.random(in: 0...6, using: &random))
        rest = rest.dropFirst(part.count)
        builder.add(page(part, next: "more"), isLast: false)
        let now = (0..<builder.entries.count).map { Array(builder.entries[$0].name) }
        #expect(now.starts(with: shown), "an entry moved, seed \(seed)")
        shown = now
        for name in model(keys).keys
        where isOrdered && name.withUnsafeBytes({ builder.decides($0) }) {
          let index = builder.entries.index(of: name)
          #expect(index.map { builder.entries[$0].seen.kind } == model(keys)[name], "seed \(seed)")
        }
      }
      builder.add(ListPage(), isLast: true)
      let entries = builder.entries
      let names = (0..<entries.count).map { Array(entries[$0].name) }
      #expect(names.starts(with: shown), "an entry moved, seed \(seed)")
      #expect(Set(names).count == names.count, "a name twice, seed \(seed)")
      let tree = model(keys)
      #expect(Set(names) == Set(tree.keys), "seed \(seed)")
      for (name, kind) in tree {
        let index = entries.index(of: name)
        #expect(index.map { entries[$0].seen.kind } == kind, "seed \(seed)")
        if kind == .file, let index {
          #expect(entries[index].seen.size == UInt64(name.count + 2), "seed \(seed)")
        }
      }
      #expect(
        entries.folders.map { Int($0) } == (0..<entries.count).filter { entries[$0].isFolder },
        "seed \(seed)")
      #expect(entries.index(of: Array("absent".utf8)) == nil)
    }
  }

  /// Files first and their folders behind, backwards: a web server may do that. With a search and an insertion
  /// for each, 300,000 of them take minutes of the lock.
  @Test func lateFoldersOfManyFilesAreMergedAtOnce() {
    let count = 300_000
    var builder = ListingBuilder(folder: .root)
    let names = (0..<count).map { Array("\(1_000_000 + $0)".utf8) }
    builder.add(page(names[...], next: "folders"), isLast: false)
    let folders = names.reversed().map { $0 + [UInt8(ascii: "/")] }
    builder.add(page(folders[...], next: nil), isLast: true)
    #expect(builder.entries.count == count)
    #expect(builder.entries.folders.elementsEqual(0..<UInt32(count)))
    #expect(builder.hidden == count)
  }

  @Test func whatCannotBeReadIsHiddenAndCounted() {
    var builder = ListingBuilder(folder: .root)
    let sizes: [UInt64] = [1, ObjectSize.limit, ObjectSize.limit + 1, .max]
    let objects = sizes.enumerated().map {
      ObjectAttributes(key: ObjectKey("\($0)"), size: $1, modified: nil)
    }
    builder.add(ListPage(objects: objects, folders: [], next: nil), isLast: true)
    #expect((0..<builder.entries.count).map { builder.entries[$0].seen.size } == [1, 1 << 53])
    #expect(builder.hidden == 2)
  }

  @Test func aFileWaitsForTheFolderOfItsName() {
    var builder = ListingBuilder(folder: .root)
    let name = Array("a".utf8)
    builder.add(page([name], next: "1"), isLast: false)
    #expect(builder.entries.count == 0)
    #expect(!name.withUnsafeBytes { builder.decides($0) })
    builder.add(page([Array("a-1".utf8)], next: "2"), isLast: false)
    #expect(builder.entries.count == 0)
    builder.add(page([Array("a/".utf8)], next: nil), isLast: true)
    #expect(builder.entries.count == 2)
    #expect(builder.entries.index(of: name).map { builder.entries[$0].isFolder } == true)
    #expect(builder.hidden == 1)
  }
}

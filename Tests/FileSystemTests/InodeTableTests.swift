import ObjectStore
import Posix
import Testing

@testable import FileSystem

/// The inode table alone, against a plain model: a list of inodes, each with its place, version and references.
@Suite struct InodeTableTests {
  private struct Known: Equatable {
    var location: InodeTable.Location
    var references: UInt64
    var confirmed: Instant?
  }

  private struct Run {
    var random: SeededGenerator
    var table = InodeTable()
    var model: [NodeID: Known] = [:]
    var used: Set<NodeID> = []
    /// Listings in the cache, and how many entries each has.
    var listings: [ListingID: Int] = [:]
    var ids = ListingIDs()
    var now: UInt64 = 0
    let note: Comment

    private static let names = (0..<6).map { Array("n\($0)".utf8) }
    private static let directories = [ObjectKey.root, ObjectKey("d/"), ObjectKey("d/e/")]

    init(seed: UInt64) {
      random = SeededGenerator(seed: seed)
      note = "seed \(seed)"
    }

    mutating func pick(_ limit: Int) -> Int { Int.random(in: 0..<limit, using: &random) }

    mutating func anyInode() -> (id: NodeID, index: InodeTable.Index)? {
      guard let id = model.keys.sorted().randomElement(using: &random) else { return nil }
      guard let index = table.resolve(id) else {
        Issue.record("an inode is lost, \(note)")
        return nil
      }
      return (id, index)
    }

    /// A version at a path that has no inode, or else the path's next one.
    mutating func unlisted() -> InodeTable.Unlisted? {
      let directory = Self.directories[pick(3)]
      let name = Self.names[pick(6)]
      let isTaken = model.values.contains { known in
        if case .unlisted(let other) = known.location {
          return !other.isStale && other.directory == directory && other.name == name
        }
        return false
      }
      if isTaken { return nil }
      now += 1
      return InodeTable.Unlisted(
        directory: directory, name: name,
        seen: Observation(kind: .file, size: now, modified: 0, etag: "v\(now)"),
        checked: Instant(nanoseconds: now))
    }

    /// An entry that has no inode.
    mutating func freeEntry() -> (listing: ListingID, entry: Int)? {
      let known = listings.keys.sorted { $0.slot < $1.slot }
      guard let listing = known.randomElement(using: &random), listings[listing]! > 0 else {
        return nil
      }
      let entry = pick(listings[listing]!)
      let isTaken = model.values.contains { $0.location == .listed(listing, entry: entry) }
      return isTaken ? nil : (listing, entry)
    }

    mutating func add(_ index: InodeTable.Index, _ location: InodeTable.Location) {
      let id = table.id(of: index)
      #expect(used.insert(id).inserted, "a number used twice, \(note)")
      model[id] = Known(location: location, references: 1)
    }

    mutating func step() {
      switch pick(16) {
      case 0, 1, 2:
        guard let (listing, entry) = freeEntry() else { return }
        let index = table.add(entry, of: listing, count: listings[listing]!)
        add(index, .listed(listing, entry: entry))
      case 3, 4:
        guard let inode = unlisted() else { return }
        add(table.add(inode), .unlisted(inode))
      case 5: listings[ids.allocate()] = pick(20)
      case 6:  // A listing grows.
        guard let listing = listings.keys.sorted(by: { $0.slot < $1.slot }).last else { return }
        listings[listing]! += pick(200)
      case 7: removeListing()
      case 8, 9:
        guard let (id, index) = anyInode() else { return }
        table.retain(index)
        model[id]!.references += 1
      case 10: move()
      case 11: unlist()
      case 12:
        guard let (id, index) = anyInode(), case .unlisted(var inode) = model[id]!.location else {
          return
        }
        table.expire(index)
        inode.isStale = true
        model[id]!.location = .unlisted(inode)
      case 13: confirm()
      default: release()
      }
    }

    private mutating func move() {
      guard let (id, index) = anyInode(), let (listing, entry) = freeEntry() else { return }
      if case .unlisted(let inode) = model[id]!.location, inode.isStale { return }
      let time = pick(2) == 0 ? nil : Instant(nanoseconds: now)
      table.move(index, to: entry, of: listing, count: listings[listing]!, confirmed: time)
      model[id]!.location = .listed(listing, entry: entry)
      model[id]!.confirmed = time
    }

    private mutating func unlist() {
      guard let (id, index) = anyInode(), case .listed = model[id]!.location,
        let inode = unlisted()
      else { return }
      table.unlist(index, as: inode)
      model[id]!.location = .unlisted(inode)
      model[id]!.confirmed = nil
    }

    private mutating func confirm() {
      guard let (id, index) = anyInode() else { return }
      let time = Instant(nanoseconds: UInt64(pick(Int(now) + 10)))
      table.confirm(index, at: time)
      switch model[id]!.location {
      case .unlisted(var inode):
        inode.checked = max(inode.checked, time)
        model[id]!.location = .unlisted(inode)
      case .listed: model[id]!.confirmed = max(model[id]!.confirmed ?? time, time)
      }
    }

    private mutating func release() {
      guard let id = model.keys.sorted().randomElement(using: &random) else { return }
      let count = UInt64.random(in: 1...model[id]!.references + 1, using: &random)
      let location = table.release(id, count: count)
      if count < model[id]!.references {
        #expect(location == nil, note)
        model[id]!.references -= count
      } else {
        #expect(location == model[id]!.location, note)
        model[id] = nil
      }
    }

    private mutating func removeListing() {
      guard let listing = listings.keys.sorted(by: { $0.slot < $1.slot }).first,
        table.count(of: listing) == 0
      else { return }
      table.remove(listing)
      listings[listing] = nil
      ids.release(listing)
    }

    mutating func check() {
      #expect(table.count == model.count, note)
      var counts: [ListingID: [Int]] = [:]
      var names: [ObjectKey: Set<[UInt8]>] = [:]
      for (id, known) in model {
        guard let index = table.resolve(id) else {
          Issue.record("an inode is lost, \(note)")
          continue
        }
        #expect(table.id(of: index) == id && table.location(of: index) == known.location, note)
        switch known.location {
        case .listed(let listing, let entry):
          counts[listing, default: []].append(entry)
          #expect(table.inode(atEntry: entry, of: listing) == index, note)
          #expect(table.confirmation(of: index) == known.confirmed, note)
          #expect(!table.isStale(index), note)
        case .unlisted(let inode):
          #expect(table.isStale(index) == inode.isStale, note)
          if inode.isStale { continue }
          names[inode.directory, default: []].insert(inode.name)
          #expect(table.inode(named: inode.name, in: inode.directory) == index, note)
        }
      }
      for listing in listings.keys { check(listing, has: (counts[listing] ?? []).sorted()) }
      for directory in Self.directories {
        #expect(table.hasUnlisted(in: directory) == (names[directory] != nil), note)
        #expect(Set(table.unlisted(in: directory).keys) == names[directory] ?? [], note)
      }
    }

    private func check(_ listing: ListingID, has entries: [Int]) {
      #expect(table.count(of: listing) == entries.count, note)
      var found: [Int] = []
      var next = 0
      while let (entry, _) = table.nextEntry(of: listing, from: next) {
        found.append(entry)
        next = entry + 1
      }
      #expect(found == entries, note)
    }

    mutating func end() {
      for (id, known) in model { _ = table.release(id, count: known.references) }
      model = [:]
      check()
      for listing in listings.keys { table.remove(listing) }
    }
  }

  @Test func inodesAgreeWithAPlainModel() {
    for seed in 0..<300 as Range<UInt64> {
      var run = Run(seed: seed)
      for _ in 0..<150 {
        run.step()
        run.check()
      }
      run.end()
      #expect(run.table.count == 0, run.note)
    }
  }

  @Test func inodeNumbersAreNeverUsedTwiceAndEndBeforeThoseOfTheControlDirectory() {
    var table = InodeTable(serialLimit: 3)
    var used: Set<NodeID> = []
    for number in 0..<100 as Range<UInt64> {
      let seen = Observation(kind: .file, size: number, modified: 0, etag: "e")
      let index = table.add(
        InodeTable.Unlisted(directory: .root, name: [1], seen: seen, checked: .now))
      let id = table.id(of: index)
      #expect(used.insert(id).inserted)
      _ = table.release(id, count: 1)
    }
    #expect(used.allSatisfy { $0 >> 32 <= 3 })
    #expect(UInt64(InodeTable.serialLimit) << 32 | UInt64(UInt32.max) < 1 << 62)
  }

  /// What is referred to in the table is given back with the last inode and the listing.
  @Test func memoryOfListingsIsGivenBack() {
    var table = InodeTable()
    let listing = ListingID(slot: 1, serial: 0)
    let index = table.add(10, of: listing, count: 1000)
    let bytes = table.bytes
    #expect(bytes >= 4000)
    _ = table.release(table.id(of: index), count: 1)
    table.remove(listing)
    #expect(bytes - table.bytes == 4000)
  }
}

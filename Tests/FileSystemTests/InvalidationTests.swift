import ObjectStore
import Posix
import Testing

@testable import FileSystem

/// What the kernel must drop, and what it may remember as absent.
@Suite struct InvalidationTests {
  private func key(_ text: String) -> ObjectKey { ObjectKey(text) }

  // MARK: The backlog

  /// Whatever is added is covered by what is taken: by name, by its folder or by all.
  @Test func nothingThatIsAddedIsLostHoweverSmallTheBound() {
    for seed in 0..<2000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let limit = Int.random(in: 1...12, using: &random)
      let folderLimit = Int.random(in: 1...4, using: &random)
      var backlog = InvalidationBacklog(limit: limit, directoryLimit: folderLimit)
      var owed: Set<[UInt8]> = []
      func settle(_ targets: [InvalidationBacklog.Target]) {
        for target in targets {
          switch target {
          case .name(let folder, let name, _): owed.remove((folder + name).bytes)
          case .names(of: let folder):
            owed = owed.filter { !ObjectKey(bytes: $0).hasPrefix(folder) }
          case .everything: owed = []
          }
        }
      }
      for step in 0..<200 {
        if Int.random(in: 0..<10, using: &random) == 0 {
          settle(backlog.removeFirst(Int.random(in: 1...5, using: &random)))
        }
        let folder = key("f\(Int.random(in: 0..<5, using: &random))/")
        let name = Array("n\(step)".utf8)
        backlog.add(name, of: folder, node: nil)
        owed.insert((folder + name).bytes)
        #expect(backlog.count <= limit + folderLimit + 1, "seed \(seed)")
      }
      while !backlog.isEmpty { settle(backlog.removeFirst(3)) }
      #expect(owed.isEmpty, "seed \(seed)")
    }
  }

  @Test func theFolderWithTheMostGivesWayAndIsCounted() {
    var backlog = InvalidationBacklog(limit: 4, directoryLimit: 2)
    backlog.add([1], of: key("small/"), node: 7)
    for name in 1...3 as ClosedRange<UInt8> { backlog.add([name], of: key("large/"), node: nil) }
    #expect(backlog.overflows == 0)
    backlog.add([2], of: key("small/"), node: nil)
    backlog.add([9], of: key("large/"), node: nil)
    #expect(backlog.overflows == 1)
    let taken = backlog.removeFirst(10)
    #expect(
      taken == [
        .names(of: key("large/")), .name(key("small/"), [1], node: 7),
        .name(key("small/"), [2], node: nil),
      ])
    #expect(backlog.isEmpty)
  }

  // MARK: Absences

  /// Compared with a plain list: what the kernel may remember is there until it is taken or over.
  @Test func whatTheKernelMayRememberIsKnownAndBounded() {
    for seed in 0..<500 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let limit = Int.random(in: 1...20, using: &random)
      var absent = AbsentNames(limit: limit)
      var model: [ObjectKey: [[UInt8]: Instant]] = [:]
      var now = Instant(nanoseconds: 1)
      for _ in 0..<300 {
        now = now + .milliseconds(Int.random(in: 0...400, using: &random))
        let folder = key("f\(Int.random(in: 0..<3, using: &random))/")
        let name = Array("n\(Int.random(in: 0..<12, using: &random))".utf8)
        switch Int.random(in: 0..<8, using: &random) {
        case 0..<5:
          let end = now + .seconds(Int.random(in: 1...5, using: &random))
          if absent.add(name, in: folder, until: end, now: now) {
            model[folder, default: [:]][name] = max(model[folder]?[name] ?? end, end)
          } else {
            #expect(absent.count == limit, "seed \(seed)")
          }
        case 5:
          let isKnown = absent.remove(name, in: folder)
          let end = model[folder]?.removeValue(forKey: name)
          // What is over may have been swept.
          if let end, end > now { #expect(isKnown, "seed \(seed)") }
        case 6:
          let taken = Set(absent.remove(in: folder) { $0 != name })
          for (known, end) in model[folder] ?? [:] where known != name {
            if end > now { #expect(taken.contains(known), "seed \(seed)") }
            model[folder]![known] = nil
          }
        default:
          let taken = absent.remove { $0 == folder }
          let names = Set(taken.flatMap(\.names))
          for (known, end) in model.removeValue(forKey: folder) ?? [:] where end > now {
            #expect(names.contains(known), "seed \(seed)")
          }
        }
        #expect(absent.count <= limit && absent.bytes >= absent.count, "seed \(seed)")
      }
      _ = absent.remove { _ in true }
      #expect(absent.count == 0 && absent.bytes == 0, "seed \(seed)")
    }
  }

  @Test func whereThereIsNoRoomTheKernelMayNotRemember() {
    var absent = AbsentNames(limit: 2)
    let now = Instant(nanoseconds: 1)
    let later = now + .seconds(20)
    let added = [
      absent.add([1], in: key("a/"), until: now + .seconds(10), now: now),
      absent.add([2], in: key("a/"), until: now + .seconds(90), now: now),
      absent.add([3], in: key("a/"), until: now + .seconds(10), now: now),
      // The first is over by then.
      absent.add([3], in: key("a/"), until: later + .seconds(10), now: later),
    ]
    #expect(added == [true, true, false, true])
  }

  // MARK: In the file system

  /// What the kernel would be made to drop.
  private func watch(_ rig: NamesRig) -> Lock<[String]> {
    let dropped = Lock<[String]>([])
    rig.files.onInvalidation { change in
      switch change {
      case .entry(_, let name):
        dropped.withLock { $0.append(String(decoding: name, as: UTF8.self)) }
        return true
      case .node: return true
      case .everything: return false
      }
    }
    return dropped
  }

  private func settle(_ rig: NamesRig) { rig.files.waitForInvalidations(within: .seconds(20)) }

  @Test(arguments: ["", "d", "d/_SUCCESS"])
  func refreshHasTheKernelDropAbsences(_ path: String) throws {
    let store = KeyStore()
    store.put(["d/old", "e/old"])
    let rig = try NamesRig(store, ttl: .seconds(3600))
    let dropped = watch(rig)
    let folder = rig.find("d")!.node
    #expect(rig.find("_SUCCESS", in: folder) == nil)
    store.put(["d/_SUCCESS"])
    rig.pass(.seconds(1))
    _ = rig.files.refresh(Array(path.utf8))
    settle(rig)
    #expect(dropped.withLock { $0.contains("_SUCCESS") })
    #expect(rig.find("_SUCCESS", in: rig.find("d")!.node) != nil)
  }

  @Test(arguments: [false, true])
  func updateHasTheKernelDropAbsencesOfWhatIsThereNow(_ isListed: Bool) throws {
    let store = KeyStore()
    store.put(["d/old"])
    let rig = try NamesRig(store, ttl: .seconds(3600))
    let dropped = watch(rig)
    let folder = rig.find("d")!.node
    if isListed { _ = rig.list(folder) }
    #expect(rig.find("new", in: folder) == nil)
    store.put(["d/new"])
    rig.pass(.seconds(1))
    rig.files.update([]) { _ in }
    settle(rig)
    #expect(dropped.withLock { $0.contains("new") })
    #expect(rig.find("new", in: folder) != nil)
  }

  @Test func aListingThatHasANameHasTheKernelDropItsAbsence() throws {
    let store = KeyStore()
    store.put(["d/old"])
    let rig = try NamesRig(store, ttl: .seconds(3600))
    let dropped = watch(rig)
    let folder = rig.find("d")!.node
    #expect(rig.find("new", in: folder) == nil)
    #expect(rig.find("never", in: folder) == nil)
    store.put(["d/new"])
    rig.pass(.seconds(1))
    #expect(rig.list(folder)?.contains("new") == true)
    settle(rig)
    #expect(dropped.withLock { $0 } == ["new"])
  }

  @Test func whatWasAskedBeforeARefreshIsNotRemembered() throws {
    let store = KeyStore()
    store.put(["old"])
    let rig = try NamesRig(store, ttl: .seconds(3600))
    store.hold()
    let answers = Lock<[Duration]>([])
    func ask() {
      Array("new".utf8).withUnsafeBytes { name in
        rig.files.lookup(parent: FileSystem.root, name: name) { result in
          if case .success(.absent(let time)) = result { answers.withLock { $0.append(time) } }
          if case .success(.found(let found)) = result {
            answers.withLock { $0.append(found.validFor) }
          }
        }
      }
    }
    ask()
    rig.pass(.seconds(1))
    _ = rig.files.refresh([])
    while store.answer() > 0 {}
    #expect(answers.withLock { $0 } == [.zero])
    ask()
    while store.answer() > 0 {}
    #expect(answers.withLock { $0.last } ?? .zero > .zero)
  }
}

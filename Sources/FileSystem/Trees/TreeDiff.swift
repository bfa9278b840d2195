import ObjectStore
import Posix

/// One `update`: lists the known folders of a part of the tree, several at once, and compares each
/// with what was known.
final class TreeDiff: Sendable {
  private struct State {
    var report = UpdateReport()
    var queue: [ObjectKey] = []
    var inFlight = 0
  }

  /// Listings in flight at most: an update is not urgent.
  private static let width = 16

  private let fileSystem: FileSystem
  private let below: ObjectKey
  private let reply: @Sendable (UpdateReport) -> Void
  private let state: Lock<State>

  init(
    _ fileSystem: FileSystem, below: ObjectKey, reply: @escaping @Sendable (UpdateReport) -> Void
  ) {
    self.fileSystem = fileSystem
    self.below = below
    self.reply = reply
    state = Lock(State())
  }

  func start() {
    fileSystem.forgetUnlisted(below: below)
    let now = fileSystem.clock()
    let known = fileSystem.state.withLock { names -> [ObjectKey] in
      for folder in names.saved?.folders ?? [] where folder.hasPrefix(below) {
        fileSystem.loadSaved(&names, folder, now: now)
      }
      return names.folders.filter { $0.key.hasPrefix(below) && $0.value.listing != nil }
        .map(\.key)
    }
    state.withLock { state in
      // The first ones last: the queue is taken from its end.
      state.queue = known.sorted(by: >)
      state.inFlight = 1
    }
    ended()
  }

  private func ended() {
    let (next, report) = state.withLock { state -> ([ObjectKey], UpdateReport?) in
      state.inFlight -= 1
      var next: [ObjectKey] = []
      while state.inFlight < Self.width, let folder = state.queue.popLast() {
        state.inFlight += 1
        next.append(folder)
      }
      return (next, state.inFlight == 0 ? state.report : nil)
    }
    for folder in next { list(folder) }
    if let report { reply(report) }
  }

  private func list(_ folder: ObjectKey) {
    guard let (old, run) = fileSystem.relist(folder) else { return ended() }
    // The entries as they were: the old generation is renewed if nothing changed.
    run.whenEnded { [self] result in
      switch result {
      case .failure(let error): state.withLock { $0.report.failures.append("\(error)") }
      case .success: compare(old, run.generation, folder)
      }
      ended()
    }
  }

  private func compare(_ old: DirectoryListing?, _ new: DirectoryListing, _ folder: ObjectKey) {
    var found = UpdateReport()
    var newFolders: [ObjectKey] = []
    let path = { [fileSystem] (name: UnsafeRawBufferPointer) in
      fileSystem.relativePath(folder + Array(name))
    }
    let isSame = old.map { $0 === new || $0.hasSameEntries(as: new) } ?? false
    if !isSame {
      new.forEachChunk { _, chunk in
        for offset in 0..<chunk.count {
          let entry = chunk[offset]
          let name = chunk.name(entry)
          let before = old.flatMap { old in old.shown(name).map { old[$0] } }
          let isFolder = entry.flags.contains(.folder)
          if let before, chunk.isSameVersion(entry, as: before.chunk, before.entry) { continue }
          if isFolder {
            newFolders.append(folder + Array(name) + [NameRules.slash])
          } else {
            let kind: UpdateReport.Kind = before == nil || before!.isFolder ? .added : .changed
            found.add(kind, path(name), entry.size)
          }
        }
      }
      old?.forEachChunk { _, chunk in
        for offset in 0..<chunk.count where !chunk[offset].flags.contains(.folder) {
          let name = chunk.name(chunk[offset])
          let after = new.shown(name).map { new[$0] }
          if after == nil || after!.isFolder { found.add(.removed, path(name), nil) }
        }
      }
    }
    state.withLock { state in
      state.report.directories += 1
      state.report.added += found.added
      state.report.changed += found.changed
      state.report.removed += found.removed
      let room = UpdateReport.changeLimit - state.report.changes.count
      state.report.changes += found.changes.prefix(max(0, room))
      state.queue += newFolders
    }
  }
}

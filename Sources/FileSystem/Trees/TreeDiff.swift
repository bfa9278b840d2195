import ObjectStore
import Posix

/// One `update`: lists the known directories of a part of the tree, several at once, and compares each
/// with what was known.
final class TreeDiff: Sendable {
  private struct State {
    var report = UpdateReport()
    var queue: [ObjectKey] = []
    var inFlight = 0
    /// A thread begins listings until none may be begun: one that ends meanwhile is counted, and leaves it to that.
    var isBeginning = false
  }

  /// Listings in flight at most: an update is not urgent.
  private static let width = 16

  private let lister: DirectoryLister
  private let paths: MountPaths
  private let reply: @Sendable (UpdateReport) -> Void
  private let state: Lock<State>

  /// `directories`: the keys of those that are listed anew, and those below them that are new.
  init(
    lister: DirectoryLister, paths: MountPaths, directories: [ObjectKey],
    reply: @escaping @Sendable (UpdateReport) -> Void
  ) {
    self.lister = lister
    self.paths = paths
    self.reply = reply
    // The first ones last: the queue is taken from its end.
    state = Lock(State(queue: directories.sorted(by: >), inFlight: 1))
  }

  func start() { ended() }

  /// A loop and no recursion: listings may end as they begin, all of them while shutting down.
  private func ended() {
    let mustBegin = state.withLock { state in
      state.inFlight -= 1
      defer { state.isBeginning = true }
      return !state.isBeginning
    }
    guard mustBegin else { return }
    while let directory = next() { list(directory) }
  }

  /// The next directory to be listed; nil: none may be now. Replies where none is left.
  private func next() -> ObjectKey? {
    let (next, report) = state.withLock { state -> (ObjectKey?, UpdateReport?) in
      if state.inFlight < Self.width, let directory = state.queue.popLast() {
        state.inFlight += 1
        return (directory, nil)
      }
      state.isBeginning = false
      return (nil, state.inFlight == 0 ? state.report : nil)
    }
    if let report { reply(report) }
    return next
  }

  private func list(_ directory: ObjectKey) {
    guard let (old, fetcher) = lister.relist(directory) else { return ended() }
    // The entries as they were: the old listing is renewed if nothing changed.
    fetcher.whenEnded { [self] result in
      switch result {
      case .failure(let error): state.withLock { $0.report.failures.append("\(error)") }
      case .success: compare(old, fetcher.listing, directory)
      }
      ended()
    }
  }

  private func compare(_ old: DirectoryListing?, _ new: DirectoryListing, _ directory: ObjectKey) {
    var found = UpdateReport()
    var newDirectories: [ObjectKey] = []
    let path = { [paths] (name: UnsafeRawBufferPointer) in
      String(decoding: paths.relativePath(of: directory + Array(name)), as: UTF8.self)
    }
    let isSame = old.map { $0 === new || $0.hasSameEntries(as: new) } ?? false
    if !isSame {
      new.forEachBlock { _, block in
        for offset in 0..<block.count {
          let entry = block[offset]
          let name = block.name(entry)
          let before = old.flatMap { old in old.shown(name).map { old[$0] } }
          let isFolder = entry.flags.contains(.folder)
          if let before, block.isSameVersion(entry, as: before.block, before.entry) { continue }
          if isFolder {
            newDirectories.append(directory + Array(name) + [NameRules.slash])
          } else {
            let kind: UpdateReport.Kind = before == nil || before!.isFolder ? .added : .changed
            found.add(kind, path(name), entry.size)
          }
        }
      }
      old?.forEachBlock { _, block in
        for offset in 0..<block.count where !block[offset].flags.contains(.folder) {
          let name = block.name(block[offset])
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
      state.queue += newDirectories
    }
  }
}

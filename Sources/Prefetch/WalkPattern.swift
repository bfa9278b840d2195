/// Recognises a data set that is being walked, from the files that are opened one after another.
///
/// Pure: opens and their times go in, targets worth filling come out. A folder is one once enough
/// different files of it were opened without a pause; a tree is one once that holds for files of several
/// folders that lie beside each other (a folder a class, a folder a day). What lies there and is unlike what
/// was opened (an archive of it all, a checkpoint) is not part of the set.
import ObjectStore
import Posix

struct WalkPattern {
  struct Target: Hashable {
    /// Ends in "/"; empty: the root of a store.
    var folder: ObjectKey
    /// What lies below its folders, and not in it; else what lies in it.
    var isTree: Bool
  }

  struct Limits {
    /// Different files of a folder: a person who looks at ten must not start anything. Each one more is a round
    /// trip that every worker of a loader waits for in its first batch.
    var proof = 12
    /// Different files of a tree, and the folders they are from.
    var treeProof = 12
    var treeFolders = 4
    /// A longer pause between two opens begins anew.
    var pause = Duration.seconds(5)
    /// Without an open of it a target rests.
    var patience = Duration.seconds(10)
    /// Folders and trees remembered; the one unused for longest is forgotten first.
    var remembered = 1024
    /// A file is like those that were opened up to so many times the largest of them, or up to a size.
    var likeness: UInt64 = 8
    var alwaysLike: UInt64 = 1 << 20
  }

  struct Activity {
    var files: Set<UInt64> = []
    var folders: Set<ObjectKey> = []
    var lastOpen: Instant
    var opens = 0
    /// Size of the largest that was opened, and of all that were, bytes.
    var largest: UInt64 = 0
    var openedBytes: UInt64 = 0
    /// Bytes that the mount's readers had been given before the first open.
    var readBefore: UInt64 = 0
    /// The first and last of the names, in the order of a listing; of a folder alone.
    var names: (least: [UInt8], greatest: [UInt8])?
    /// The folder of the last open.
    var latest: ObjectKey
    var isTarget = false
  }

  private let limits: Limits
  /// The root of the mount: nothing above it is looked at.
  private let root: ObjectKey
  private var activities: [Target: Activity] = [:]

  init(root: ObjectKey, limits: Limits = Limits()) {
    self.root = root
    self.limits = limits
  }

  /// What is worth filling now, the one opened from last first.
  func targets(at now: Instant) -> [Target] {
    activities.filter { $0.value.isTarget && now - $0.value.lastOpen < limits.patience }
      .sorted { $0.value.lastOpen > $1.value.lastOpen }.map(\.key)
  }

  func activity(of target: Target) -> Activity? { activities[target] }

  func isAlive(_ target: Target, at now: Instant) -> Bool {
    guard let activity = activities[target], activity.isTarget else { return false }
    return now - activity.lastOpen < limits.patience
  }

  /// Whether a file of so many bytes may be one of the set.
  func isLike(_ size: UInt64, _ target: Target) -> Bool {
    guard let activity = activities[target] else { return false }
    return size <= max(limits.alwaysLike, activity.largest.multipliedClamping(by: limits.likeness))
  }

  /// Takes note of an open. True: a target is there that was not, or that rested.
  mutating func opened(
    _ name: [UInt8], in folder: ObjectKey, hash: UInt64, size: UInt64, readSoFar: UInt64 = 0,
    at now: Instant
  ) -> Bool {
    let folderTarget = Target(folder: folder, isTree: false)
    var isNews = note(folderTarget, folder, name, hash, now)
    activities[folderTarget]?.note(size: size, readSoFar)
    if let parent = parent(of: folder) {
      let tree = Target(folder: parent, isTree: true)
      if note(tree, folder, nil, hash, now) { isNews = true }
      activities[tree]?.note(size: size, readSoFar)
    }
    if activities.count > limits.remembered { forgetOldest() }
    return isNews
  }

  private mutating func note(
    _ target: Target, _ folder: ObjectKey, _ name: [UInt8]?, _ hash: UInt64, _ now: Instant
  ) -> Bool {
    var activity = activities[target] ?? Activity(lastOpen: now, latest: folder)
    let isAfterPause = now - activity.lastOpen > limits.pause
    let rested = activity.isTarget && now - activity.lastOpen >= limits.patience
    if isAfterPause, !activity.isTarget { activity = Activity(lastOpen: now, latest: folder) }
    activity.lastOpen = now
    activity.latest = folder
    activity.opens += 1
    let proof = target.isTree ? limits.treeProof : limits.proof
    if activity.files.count < proof { activity.files.insert(hash) }
    if target.isTree, activity.folders.count < limits.treeFolders {
      activity.folders.insert(folder)
    }
    if let name { activity.extend(name) }
    let wasTarget = activity.isTarget
    if activity.files.count >= proof,
      !target.isTree || activity.folders.count >= limits.treeFolders
    {
      activity.isTarget = true
    }
    activities[target] = activity
    return activity.isTarget && (!wasTarget || rested)
  }

  private func parent(of folder: ObjectKey) -> ObjectKey? {
    guard folder != root, folder.bytes.count > root.bytes.count else { return nil }
    let end = folder.bytes.dropLast().lastIndex(of: UInt8(ascii: "/")).map { $0 + 1 } ?? 0
    return ObjectKey(bytes: Array(folder.bytes[..<end]))
  }

  private mutating func forgetOldest() {
    let oldest = activities.sorted { $0.value.lastOpen < $1.value.lastOpen }
    for (target, _) in oldest.prefix(limits.remembered / 4) { activities[target] = nil }
  }
}

extension UInt64 {
  fileprivate func multipliedClamping(by other: UInt64) -> UInt64 {
    let (product, overflows) = multipliedReportingOverflow(by: other)
    return overflows ? .max : product
  }
}

extension WalkPattern.Activity {
  fileprivate mutating func note(size: UInt64, _ readSoFar: UInt64) {
    if opens == 1 { readBefore = readSoFar }
    largest = max(largest, size)
    openedBytes.addSaturated(size)
  }

  /// What counts as asked of it, once readers of the mount were given `readSoFar` bytes in all.
  func asked(readSoFar: UInt64) -> UInt64 {
    FillBudget.asked(opened: openedBytes, read: readSoFar - min(readSoFar, readBefore))
  }

  fileprivate mutating func extend(_ name: [UInt8]) {
    guard let known = names else {
      names = (name, name)
      return
    }
    if name.lexicographicallyPrecedes(known.least) { names?.least = name }
    if known.greatest.lexicographicallyPrecedes(name) { names?.greatest = name }
  }
}

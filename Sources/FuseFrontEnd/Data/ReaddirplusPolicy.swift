import DequeModule
import FileSystem

/// Whether the attributes of files are returned with their names when a directory is read.
///
/// With them (READDIRPLUS), the kernel makes an inode for each name: some 3 microseconds and a kilobyte. That is
/// right for `ls -l`, and a waste for a traversal that needs only names, which then takes three times as long.
/// Without them, a process that needs them looks up each file: some 20 microseconds. So only names are returned
/// until files of directories that were just read are looked up one by one. From then on, attributes are returned
/// too. Now and then one directory is returned without them, to see whether its files are still looked up.
/// Directories always have their attributes, because a traversal opens them.
///
/// Pure; one for the mount.
struct ReaddirplusPolicy {
  /// Lookups in one folder that are no accident.
  static let lookupsBeforeAll = 4
  /// Directories opened after one without attributes, before the policy concludes that no process needs them.
  static let opensAfterSample = 3
  /// A folder larger than this is not tried without: the lookups would be felt.
  static let sampleLimit = 1000
  /// Folders read lately without attributes.
  static let recentLimit = 64
  static let longestInterval = 64

  private enum Mode {
    case names
    case all
  }

  private var mode = Mode.names
  private var recent: [NodeID: Int] = [:]
  private var order: Deque<NodeID> = []
  private var sample: (folder: NodeID, opens: Int)?
  private var interval = 2
  private var untilSample = 2

  /// A folder is opened. Returns whether its files will be given with attributes. `count`: its
  /// entries, nil if they are not known yet.
  mutating func opened(_ folder: NodeID, count: Int?) -> Bool {
    if mode == .names {
      remember(folder)
      return false
    }
    if let (tried, opens) = sample {
      // The same one once more says nothing.
      if tried == folder { return false }
      sample = (tried, opens + 1)
      guard opens + 1 >= Self.opensAfterSample else { return true }
      change(to: .names)
      remember(folder)
      return false
    }
    untilSample -= 1
    guard untilSample <= 0, let count, count <= Self.sampleLimit else { return true }
    sample = (folder, 0)
    remember(folder)
    return false
  }

  func givesAll(of folder: NodeID) -> Bool { mode == .all && sample?.folder != folder }

  /// A file was looked up by name.
  mutating func lookedUp(in folder: NodeID) {
    guard let lookups = recent[folder] else { return }
    recent[folder] = lookups + 1
    switch mode {
    case .names: if lookups + 1 >= Self.lookupsBeforeAll { change(to: .all) }
    case .all:
      guard sample?.folder == folder else { return }
      sample = nil
      interval = min(Self.longestInterval, interval * 2)
      untilSample = interval
    }
  }

  private mutating func change(to mode: Mode) {
    self.mode = mode
    sample = nil
    recent = [:]
    order = []
    interval = 2
    untilSample = 2
  }

  private mutating func remember(_ folder: NodeID) {
    if recent.updateValue(0, forKey: folder) != nil { return }
    order.append(folder)
    if order.count > Self.recentLimit, let oldest = order.popFirst() { recent[oldest] = nil }
  }
}

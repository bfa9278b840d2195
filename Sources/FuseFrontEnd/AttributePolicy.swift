import DequeModule
import FileSystem

/// Whether the attributes of files go along with their names when a folder is read.
///
/// With them (READDIRPLUS) the kernel makes an inode of each name, some 3 microseconds and a kilobyte:
/// right for `ls -l`, a waste for a walk that wants names alone, which takes three times as long by it.
/// Without, whoever does want them asks for each, some 20 microseconds. So names alone are given
/// until files of folders that were just read are looked up one by one; from then on all, and now and then a
/// folder without to see whether somebody still asks. Folders always have their attributes: a walk
/// opens them.
///
/// Pure; one for the mount.
struct AttributePolicy {
  /// Lookups in one folder that are no accident.
  static let lookupsBeforeAll = 4
  /// Folders opened after one that was given without, before it says that nobody asks.
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
      settle(.names)
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
    case .names: if lookups + 1 >= Self.lookupsBeforeAll { settle(.all) }
    case .all:
      guard sample?.folder == folder else { return }
      sample = nil
      interval = min(Self.longestInterval, interval * 2)
      untilSample = interval
    }
  }

  private mutating func settle(_ mode: Mode) {
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

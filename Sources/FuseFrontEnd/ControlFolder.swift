/// The folder `.millrace` at the root of a mount, through which programs tell it what they know: an order
/// of files is written to `order`, or to `order.NAME`.
///
/// It is hidden from listings, and its nodes are numbers that no other node has. A file is taken when it is
/// closed: at the FLUSH, so that it is in force when close(2) returns.
import CFuseShim
import FileSystem
import Glibc
import Posix
public import SystemPackage

/// What the mount does with what is written there.
public struct ControlFiles: Sendable {
  /// Takes an order; the errno is what close(2) returns.
  public var take: @Sendable (_ bytes: [UInt8], _ name: String) -> Errno?
  /// Ends an order. False: there is none of that name.
  public var remove: @Sendable (_ name: String) -> Bool
  public var names: @Sendable () -> [String]
  /// Bytes that may be written to one, and to all that are open at once: every rank of a node writes its own
  /// at the start of an epoch.
  public var limit: Int
  public var totalLimit: Int
  /// Bytes of an order's name.
  public var nameLimit: Int

  public init(
    take: @escaping @Sendable (_ bytes: [UInt8], _ name: String) -> Errno?,
    remove: @escaping @Sendable (_ name: String) -> Bool,
    names: @escaping @Sendable () -> [String], limit: Int, totalLimit: Int,
    nameLimit: Int
  ) {
    self.take = take
    self.remove = remove
    self.names = names
    self.limit = limit
    self.totalLimit = totalLimit
    self.nameLimit = nameLimit
  }
}

final class ControlFolder: Sendable {
  static let name = Array(".millrace".utf8)
  /// The node of the folder; those of its files follow.
  static let firstNode: NodeID = 1 << 62
  private static let fileName = "order"
  /// Files that may have a node at once.
  private static let nodeLimit = 16_384

  struct Text {
    var bytes: [UInt8] = []
    var isWritten = false
    /// What came before is not an order either then, nor what comes after.
    var refusal: Errno?
  }

  /// One open of a file, from OPEN to RELEASE.
  final class Handle: Sendable {
    let node: NodeID
    let text = Lock(Text())
    init(_ node: NodeID) { self.node = node }
  }

  private struct State {
    /// By their place: the name of a file; and the place of each. A node's number is never given again.
    var names: [String] = []
    var places: [String: Int] = [:]
    var handles: [UInt64: Handle] = [:]
    var lastHandle: UInt64 = 0
  }

  private let files: ControlFiles
  private let state = Lock(State())
  /// Bytes of all that is open.
  private let held = Lock(0)

  init(_ files: ControlFiles) { self.files = files }

  static func has(_ node: NodeID) -> Bool { node >= firstNode }

  // MARK: Names

  /// The node of a file; nil: no file may be called so, or there are too many.
  func node(of name: UnsafeRawBufferPointer) -> NodeID? {
    guard let name = String(validating: name, as: UTF8.self),
      name == Self.fileName
        || name.hasPrefix(Self.fileName + ".") && name.utf8.count > Self.fileName.utf8.count + 1
          && name.utf8.count <= Self.fileName.utf8.count + 1 + files.nameLimit
    else { return nil }
    return state.withLock { state in
      if let index = state.places[name] { return Self.firstNode + 1 + NodeID(index) }
      guard state.names.count < Self.nodeLimit else { return nil }
      state.places[name] = state.names.count
      state.names.append(name)
      return Self.firstNode + NodeID(state.names.count)
    }
  }

  /// "order" and those that are in force.
  var names: [(name: String, node: NodeID)] {
    let taken = Set(files.names() + [""])
    return taken.sorted().compactMap { order in
      let name = order.isEmpty ? Self.fileName : Self.fileName + "." + order
      var copy = name
      return copy.withUTF8 { node(of: UnsafeRawBufferPointer($0)) }.map { (name, $0) }
    }
  }

  /// What of a file's name is the name of its order.
  private func order(_ node: NodeID) -> String? {
    state.withLock { state in
      let index = Int(node - Self.firstNode) - 1
      guard state.names.indices.contains(index) else { return nil }
      return String(state.names[index].dropFirst(Self.fileName.count + 1))
    }
  }

  func remove(_ node: NodeID) -> Bool { order(node).map { files.remove($0) } ?? false }

  // MARK: Files

  func open(_ node: NodeID) -> UInt64 {
    state.withLock { state in
      state.lastHandle += 1
      state.handles[state.lastHandle] = Handle(node)
      return state.lastHandle
    }
  }

  func write(_ handle: UInt64, _ bytes: UnsafeRawBufferPointer, at offset: Int) -> Errno? {
    guard let file = state.withLock({ $0.handles[handle] }) else { return .badFileDescriptor }
    return file.text.withLock { text in
      if let refusal = text.refusal { return refusal }
      guard offset >= 0, offset <= files.limit - bytes.count else {
        return refuse(&text, .fileTooLarge)
      }
      guard holds(max(0, offset + bytes.count - text.bytes.count)) else {
        return refuse(&text, .noSpace)
      }
      text.isWritten = true
      // From one end to the other is how it comes; a hole is zeros, which no path has.
      if offset > text.bytes.count {
        text.bytes += [UInt8](repeating: 0, count: offset - text.bytes.count)
      }
      if offset == text.bytes.count {
        text.bytes += bytes
      } else {
        let end = min(text.bytes.count, offset + bytes.count)
        text.bytes.replaceSubrange(offset..<end, with: bytes)
      }
      return nil
    }
  }

  private func refuse(_ text: inout Text, _ error: Errno) -> Errno {
    held.withLock { $0 -= text.bytes.count }
    text.bytes = []
    text.refusal = error
    return error
  }

  /// False: there is no room for so many bytes more.
  private func holds(_ growth: Int) -> Bool {
    held.withLock { held in
      guard held + growth <= files.totalLimit else { return false }
      held += growth
      return true
    }
  }

  /// close(2): what was written since the last one counts from now on.
  func flush(_ handle: UInt64) -> Errno? {
    guard let file = state.withLock({ $0.handles[handle] }), let name = order(file.node) else {
      return .badFileDescriptor
    }
    let (bytes, refusal): ([UInt8]?, Errno?) = file.text.withLock { text in
      guard text.isWritten, text.refusal == nil else { return (nil, text.refusal) }
      text.isWritten = false
      return (text.bytes, nil)
    }
    return refusal ?? bytes.flatMap { files.take($0, name) }
  }

  /// The last descriptor of it is gone.
  func close(_ handle: UInt64) {
    // A kernel that sends no FLUSH.
    _ = flush(handle)
    guard let file = state.withLock({ $0.handles.removeValue(forKey: handle) }) else { return }
    let bytes = file.text.withLock { $0.bytes.count }
    held.withLock { $0 -= bytes }
  }

  // MARK: Attributes

  func status(_ node: NodeID, _ view: NodeView) -> stat {
    var status = stat()
    status.st_ino = ino_t(node)
    let isFolder = node == Self.firstNode
    status.st_mode = isFolder ? S_IFDIR | 0o755 : S_IFREG | 0o644
    status.st_nlink = 1
    status.st_uid = view.owner
    status.st_gid = view.group
    status.st_blksize = 1 << 17
    return status
  }

  func entry(_ node: NodeID, _ view: NodeView) -> fuse_entry_param {
    var entry = fuse_entry_param()
    entry.ino = node
    entry.attr = status(node, view)
    entry.attr_timeout = 3600
    entry.entry_timeout = 3600
    return entry
  }
}

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
  /// Bytes that may be written.
  public var limit: Int

  public init(
    take: @escaping @Sendable (_ bytes: [UInt8], _ name: String) -> Errno?,
    remove: @escaping @Sendable (_ name: String) -> Bool,
    names: @escaping @Sendable () -> [String], limit: Int
  ) {
    self.take = take
    self.remove = remove
    self.names = names
    self.limit = limit
  }
}

final class ControlFolder: Sendable {
  static let name = Array(".millrace".utf8)
  /// The node of the folder; those of its files follow.
  static let firstNode: NodeID = 1 << 62
  private static let fileName = "order"
  /// Files that may have a node at once.
  private static let nodeLimit = 16_384
  private static let nameLimit = fileName.utf8.count + 1 + 100

  /// One open of a file, from OPEN to RELEASE.
  final class Handle: Sendable {
    let node: NodeID
    let text = Lock((bytes: [UInt8](), isWritten: false, isRefused: false))
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
  /// Bytes of all that is open: as many as one file may have.
  private let held = Lock(0)

  init(_ files: ControlFiles) { self.files = files }

  static func has(_ node: NodeID) -> Bool { node >= firstNode }

  // MARK: Names

  /// The node of a file; nil: no file may be called so, or there are too many.
  func node(of name: UnsafeRawBufferPointer) -> NodeID? {
    guard let name = String(validating: name, as: UTF8.self),
      name == Self.fileName
        || name.hasPrefix(Self.fileName + ".") && name.utf8.count > Self.fileName.utf8.count + 1
          && name.utf8.count <= Self.nameLimit
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
    guard offset >= 0, offset <= files.limit - bytes.count else {
      // What came before is not an order either, nor what comes after.
      file.text.withLock { $0.isRefused = true }
      return .fileTooLarge
    }
    let error: Errno? = file.text.withLock { text in
      let growth = max(0, offset + bytes.count - text.bytes.count)
      let hasRoom = held.withLock { held in
        guard held + growth <= files.limit else { return false }
        held += growth
        return true
      }
      guard hasRoom else {
        text.isRefused = true
        return .noSpace
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
    return error
  }

  /// close(2): what was written since the last one counts from now on.
  func flush(_ handle: UInt64) -> Errno? {
    guard let file = state.withLock({ $0.handles[handle] }), let name = order(file.node) else {
      return .badFileDescriptor
    }
    let (bytes, isRefused): ([UInt8]?, Bool) = file.text.withLock { text in
      guard text.isWritten, !text.isRefused else { return (nil, text.isRefused) }
      text.isWritten = false
      return (text.bytes, false)
    }
    if isRefused { return .fileTooLarge }
    return bytes.flatMap { files.take($0, name) }
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

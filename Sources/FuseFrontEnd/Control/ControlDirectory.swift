/// The directory `.millrace` at the root of a mount, through which programs tell it what they know: an order
/// of files is written to `order`, or to `order.NAME`. What they read there is `ControlReports`'.
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
  /// Takes an order, which may take a second; the errno is what close(2) returns.
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
  /// Makes a report, in milliseconds, on a thread of its own; nil: there are no reports. It is read by all users who
  /// may read the mount.
  public var report: (@Sendable (ControlReport) -> [UInt8]?)?

  public init(
    take: @escaping @Sendable (_ bytes: [UInt8], _ name: String) -> Errno?,
    remove: @escaping @Sendable (_ name: String) -> Bool,
    names: @escaping @Sendable () -> [String], limit: Int, totalLimit: Int,
    nameLimit: Int, report: (@Sendable (ControlReport) -> [UInt8]?)? = nil
  ) {
    self.take = take
    self.remove = remove
    self.names = names
    self.limit = limit
    self.totalLimit = totalLimit
    self.nameLimit = nameLimit
    self.report = report
  }
}

final class ControlDirectory: Sendable {
  static let name = Array(".millrace".utf8)
  /// The node of the folder; that of `order` follows, then those of the reports, then those of `order.NAME`.
  static let firstNode: NodeID = 1 << 62
  static let orderNode = firstNode + 1
  private static let fileName = "order"
  /// Files that have a node at once. The kernel keeps names long after their orders have ended: the oldest go.
  private static let nodeLimit = 16_384

  struct Text {
    var bytes: [UInt8] = []
    var isWritten = false
    /// What came before is not an order either then, nor what comes after.
    var refusal: Errno?
    /// An order of it is being taken.
    var isTaking = false
    /// What came of the last one: each close(2) says so, since a child that inherits the descriptor closes it too.
    var outcome: Errno?
    /// Closes that wait for the one that is being taken.
    var waiting: [@Sendable (Errno?) -> Void] = []
  }

  /// One open of a file, from OPEN to RELEASE.
  final class Handle: Sendable {
    let node: NodeID
    /// Of its order; empty for `order`.
    let name: String
    let text = Lock(Text())
    init(_ node: NodeID, _ name: String) {
      self.node = node
      self.name = name
    }
  }

  private struct Node {
    /// Of its order.
    var name: String
    /// Held by the kernel.
    var lookups: UInt64 = 0
    var opens = 0
  }

  private struct State {
    /// Of `order.NAME`. A node's number is never given again.
    var nodes: [NodeID: Node] = [:]
    var numbers: [String: NodeID] = [:]
    var lastNode = ControlReports.lastNode
    var handles: [UInt64: Handle] = [:]
    var lastHandle: UInt64 = 0
  }

  private let files: ControlFiles
  private let state = Lock(State())
  /// Bytes of all that is open.
  private let held = Lock(0)
  /// Takes orders, one after the other: no thread of the mount parses one.
  private let taker = WorkerPool(named: "order-taker", threads: 1, queueLimit: 256)

  let reports: ControlReports?

  init(_ files: ControlFiles) {
    self.files = files
    reports = files.report.map { ControlReports($0) }
  }

  /// Takes what was closed, and nothing after that.
  func shutdown() {
    taker.shutdown()
    reports?.shutdown()
  }

  static func has(_ node: NodeID) -> Bool { node >= firstNode }

  // MARK: Names

  /// The name of an order; empty: of `order`; nil: no file may be called so.
  func order(of name: UnsafeRawBufferPointer) -> String? {
    guard let name = String(validating: name, as: UTF8.self) else { return nil }
    if name == Self.fileName { return "" }
    guard name.hasPrefix(Self.fileName + ".") else { return nil }
    let order = name.dropFirst(Self.fileName.count + 1)
    return order.isEmpty || order.utf8.count > files.nameLimit ? nil : String(order)
  }

  /// The node of a file that is there: of an order in force, or one that is being written. The kernel holds it until
  /// `forget`.
  func lookUp(_ order: String) -> NodeID? {
    if order.isEmpty { return Self.orderNode }
    let isInForce = files.names().contains(order)
    return state.withLock { state in
      let number = state.numbers[order]
      guard isInForce || number.map({ state.nodes[$0]!.opens > 0 }) == true else { return nil }
      return Self.hold(order, &state)
    }
  }

  /// The node of a file that is about to be written. The kernel holds it until `forget`.
  func create(_ order: String) -> NodeID {
    order.isEmpty ? Self.orderNode : state.withLock { Self.hold(order, &$0) }
  }

  private static func hold(_ order: String, _ state: inout State) -> NodeID {
    if let number = state.numbers[order] {
      state.nodes[number]!.lookups += 1
      return number
    }
    if state.nodes.count >= nodeLimit,
      let oldest = state.nodes.filter({ $0.value.opens == 0 }).keys.min()
    {
      drop(oldest, &state)
    }
    state.lastNode += 1
    state.nodes[state.lastNode] = Node(name: order, lookups: 1)
    state.numbers[order] = state.lastNode
    return state.lastNode
  }

  private static func drop(_ node: NodeID, _ state: inout State) {
    guard let name = state.nodes.removeValue(forKey: node)?.name else { return }
    state.numbers[name] = nil
  }

  /// The kernel holds `count` look-ups less.
  func forget(_ node: NodeID, count: UInt64) {
    state.withLock { state in
      guard var known = state.nodes[node] else { return }
      known.lookups -= min(known.lookups, count)
      state.nodes[node] = known
      if known.lookups == 0, known.opens == 0 { Self.drop(node, &state) }
    }
  }

  /// Nodes of `order.NAME` in use.
  var nodeCount: Int { state.withLock { $0.nodes.count } }

  /// "order", the reports and those that are in force. Those that the kernel has not looked up have the folder's number.
  var names: [(name: String, node: NodeID)] {
    let taken = Set(files.names()).subtracting([""]).sorted()
    let numbers = state.withLock { state in taken.map { state.numbers[$0] ?? Self.firstNode } }
    let reports = reports == nil ? [] : ControlReport.allCases
    return [(Self.fileName, Self.orderNode)]
      + reports.map { ($0.rawValue, ControlReports.node($0)) }
      + zip(taken, numbers).map { (Self.fileName + "." + $0, $1) }
  }

  /// Ends an order. False: there is none of that name.
  func remove(_ order: String) -> Bool { files.remove(order) }

  // MARK: Files

  /// Nil: the node is not known any more; the kernel looks its name up again.
  func open(_ node: NodeID) -> UInt64? {
    state.withLock { state in
      if node != Self.orderNode {
        guard state.nodes[node] != nil else { return nil }
        state.nodes[node]!.opens += 1
      }
      state.lastHandle += 1
      state.handles[state.lastHandle] = Handle(node, state.nodes[node]?.name ?? "")
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

  /// close(2): what was written since the last one is in force when `done` is called, on any thread. The errno is
  /// what close(2) returns.
  func flush(_ handle: UInt64, done: @escaping @Sendable (Errno?) -> Void) {
    guard let file = state.withLock({ $0.handles[handle] }) else {
      return done(.badFileDescriptor)
    }
    take(file, done: done)
  }

  private func take(_ file: Handle, done: @escaping @Sendable (Errno?) -> Void) {
    let step: Step = file.text.withLock { text in
      if let refusal = text.refusal { return .over(refusal) }
      if text.isTaking {
        text.waiting.append(done)
        return .waits
      }
      guard text.isWritten else { return .over(text.outcome) }
      text.isWritten = false
      text.isTaking = true
      return .takes(text.bytes)
    }
    switch step {
    case .over(let outcome): done(outcome)
    case .waits: break
    case .takes(let bytes):
      let isTaken = taker.submit { [self] in ended(file, files.take(bytes, file.name), done) }
      // So many close at once that the writer is to try again.
      if !isTaken { ended(file, .resourceTemporarilyUnavailable, done) }
    }
  }

  private enum Step {
    case over(Errno?)
    case waits
    case takes([UInt8])
  }

  private func ended(_ file: Handle, _ outcome: Errno?, _ done: @Sendable (Errno?) -> Void) {
    let waiting = file.text.withLock { text in
      text.isTaking = false
      text.outcome = outcome
      defer { text.waiting = [] }
      return text.waiting
    }
    done(outcome)
    // What was written meanwhile is taken for them.
    for next in waiting { take(file, done: next) }
  }

  /// The last descriptor of it is gone.
  func close(_ handle: UInt64) {
    let file = state.withLock { state -> Handle? in
      guard let file = state.handles.removeValue(forKey: handle) else { return nil }
      guard var node = state.nodes[file.node] else { return file }
      node.opens -= 1
      state.nodes[file.node] = node
      if node.lookups == 0, node.opens == 0 { Self.drop(file.node, &state) }
      return file
    }
    guard let file else { return }
    // A kernel that sends no FLUSH.
    take(file) { _ in }
    let bytes = file.text.withLock { $0.bytes.count }
    held.withLock { $0 -= bytes }
  }

  // MARK: Attributes

  func status(_ node: NodeID, _ view: AttributeMapper) -> stat {
    var status = stat()
    status.st_ino = ino_t(node)
    let isFolder = node == Self.firstNode
    let mode: mode_t = ControlReports.has(node) ? 0o444 : 0o644
    status.st_mode = isFolder ? S_IFDIR | 0o755 : S_IFREG | mode
    status.st_nlink = 1
    status.st_uid = view.owner
    status.st_gid = view.group
    status.st_blksize = 1 << 17
    return status
  }

  func entry(_ node: NodeID, _ view: AttributeMapper) -> fuse_entry_param {
    var entry = fuse_entry_param()
    entry.ino = node
    entry.attr = status(node, view)
    entry.attr_timeout = 3600
    // The other names come and go with their orders.
    entry.entry_timeout = node <= ControlReports.lastNode ? 3600 : 0
    return entry
  }
}

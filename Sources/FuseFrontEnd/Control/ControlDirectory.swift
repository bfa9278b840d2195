import FileSystem
import Glibc
import Posix
import SystemPackage

/// The directory `.millrace` at the root of a mount: programs write the orders of their accesses to `order` or to
/// `order.NAME`, and read there what `ControlReports` makes.
///
/// It is hidden from listings, and its nodes are numbers that no other node has. A file becomes an order when it is
/// closed: at the FLUSH, so that it is in force when close(2) returns. Nothing here knows of libfuse: a request comes
/// in as a `NodeRequest` and goes out as a `ControlAnswer`; `ControlNodes` carries both.
///
/// `state` guards the names and which files are open; each open file has a lock of its own, so that large writes to one
/// do not hold up another. Within a file's lock that of `heldBytes` is taken, within the others none.
final class ControlDirectory: Sendable {
  static let name = Array(".millrace".utf8)
  /// The node of the directory; that of `order` follows, then those of the reports, then those of `order.NAME`.
  static let firstNode: NodeID = 1 << 62
  static let orderNode = firstNode + 1
  /// Files that have a node at once.
  static let nodeLimit = 16_384
  private static let fileName = "order"

  /// Answers one close(2).
  private struct Closer: Sendable {
    let answer: @Sendable (Errno?) -> Void
  }

  /// One open of a file, from OPEN to RELEASE.
  private final class OpenOrder: Sendable {
    let node: NodeID
    /// Of its order; empty for `order`.
    let name: String
    let file: Lock<OrderFile<Closer>>

    init(_ node: NodeID, _ name: String, limit: Int) {
      self.node = node
      self.name = name
      file = Lock(OrderFile(limit: limit))
    }
  }

  private struct State {
    var nodes = OrderNodes(
      unnamed: ControlDirectory.orderNode, after: ControlReports.lastNode,
      limit: ControlDirectory.nodeLimit)
    var open: [UInt64: OpenOrder] = [:]
    var lastHandle: UInt64 = 0
  }

  private let files: ControlFiles
  private let state = Lock(State())
  /// Bytes of all files that are open.
  private let heldBytes = Lock(0)
  /// Puts orders in force, one after the other: no thread of the mount parses one.
  private let worker = WorkerPool(named: "order-taker", threads: 1, queueLimit: 256)
  let reports: ControlReports?

  init(_ files: ControlFiles) {
    self.files = files
    reports = files.report.map { ControlReports($0) }
  }

  /// Puts in force what was closed, and nothing after that.
  func shutdown() {
    worker.shutdown()
    reports?.shutdown()
  }

  /// Whether a node is of the control directory.
  @inline(__always)
  static func owns(_ node: NodeID) -> Bool { node >= firstNode }

  /// Nodes of `order.NAME` in use.
  var nodeCount: Int { state.withLock { $0.nodes.count } }

  // MARK: Names

  /// The name of an order; empty: of `order`; nil: no file may be called so.
  func order(of name: UnsafeRawBufferPointer) -> String? {
    guard let name = String(validating: name, as: UTF8.self) else { return nil }
    if name == Self.fileName { return "" }
    guard name.hasPrefix(Self.fileName + ".") else { return nil }
    let order = name.dropFirst(Self.fileName.count + 1)
    return order.isEmpty || order.utf8.count > files.limits.name ? nil : String(order)
  }

  /// The node of the directory itself in the root, or of a file in it that is there. The kernel holds it until
  /// `forget`.
  func lookUp(_ name: UnsafeRawBufferPointer, in parent: NodeID) -> NodeID? {
    guard Self.owns(parent) else { return name.elementsEqual(Self.name) ? Self.firstNode : nil }
    if let report = report(named: name) { return ControlReports.node(report) }
    return order(of: name).flatMap { lookUp($0) }
  }

  func lookUp(_ order: String) -> NodeID? {
    let isInForce = !order.isEmpty && files.names().contains(order)
    return state.withLock { $0.nodes.lookUp(order, isInForce: isInForce) }
  }

  /// The node of a file that is about to be written. The kernel holds it until `forget`.
  func create(_ order: String) -> NodeID { state.withLock { $0.nodes.retain(order) } }

  /// The kernel holds `count` lookups less.
  func forget(_ node: NodeID, count: UInt64) {
    state.withLock { $0.nodes.forget(node, count: count) }
  }

  /// `order`, the reports and the orders in force. Those that the kernel has not looked up have the directory's number.
  var names: [(name: String, node: NodeID)] {
    let named = Set(files.names()).subtracting([""]).sorted()
    let numbers = state.withLock { state in
      named.map { state.nodes.number(of: $0) ?? Self.firstNode }
    }
    let reports = reports == nil ? [] : ControlReport.allCases
    return [(Self.fileName, Self.orderNode)]
      + reports.map { ($0.rawValue, ControlReports.node($0)) }
      + zip(named, numbers).map { (Self.fileName + "." + $0, $1) }
  }

  /// nil where there are no reports, too.
  private func report(named name: UnsafeRawBufferPointer) -> ControlReport? {
    reports == nil ? nil : ControlReports.report(named: name)
  }

  /// Ends an order. False: there is none of that name.
  func remove(_ order: String) -> Bool { files.remove(order) }

  // MARK: Files of orders

  /// Nil: the node is not known any more; the kernel looks its name up again.
  func open(_ node: NodeID) -> UInt64? {
    state.withLock { state in
      guard let name = state.nodes.open(node) else { return nil }
      state.lastHandle += 1
      state.open[state.lastHandle] = OpenOrder(node, name, limit: files.limits.file)
      return state.lastHandle
    }
  }

  /// Returns the errno of write(2).
  func write(_ handle: UInt64, _ bytes: UnsafeRawBufferPointer, at offset: Int) -> Errno? {
    guard let order = state.withLock({ $0.open[handle] }) else { return .badFileDescriptor }
    return order.file.withLock { file in
      switch file.admit(bytes.count, at: offset) {
      case .refused(let error, let freed):
        release(freed)
        return error
      case .grows(let growth):
        guard reserve(growth) else {
          release(file.refuse(.noSpace))
          return .noSpace
        }
        file.write(bytes, at: offset)
        return nil
      }
    }
  }

  /// False: so many bytes more are too many.
  private func reserve(_ growth: Int) -> Bool {
    heldBytes.withLock { held in
      guard held + growth <= files.limits.total else { return false }
      held += growth
      return true
    }
  }

  private func release(_ count: Int) { heldBytes.withLock { $0 -= count } }

  /// close(2): what was written since the last one is in force when `done` is called, on any thread. The errno is
  /// what close(2) returns.
  func flush(_ handle: UInt64, done: @escaping @Sendable (Errno?) -> Void) {
    guard let order = state.withLock({ $0.open[handle] }) else {
      return done(.badFileDescriptor)
    }
    perform(order.file.withLock { $0.flush(Closer(answer: done)) }, order)
  }

  /// The last descriptor of it is gone.
  func close(_ handle: UInt64) {
    let order = state.withLock { state -> OpenOrder? in
      guard let order = state.open.removeValue(forKey: handle) else { return nil }
      state.nodes.close(order.node)
      return order
    }
    guard let order else { return }
    // A kernel that sends no FLUSH.
    let (actions, held) = order.file.withLock { ($0.flush(nil), $0.text.count) }
    perform(actions, order)
    release(held)
  }

  private func perform(_ actions: [OrderFile<Closer>.Action], _ order: OpenOrder) {
    for action in actions {
      switch action {
      case .answer(let closer, let error): closer.answer(error)
      case .apply(let text):
        let isQueued = worker.submit { [self] in applied(order, files.apply(text, order.name)) }
        // So many close at once that the writer is to try again.
        if !isQueued { applied(order, .resourceTemporarilyUnavailable) }
      }
    }
  }

  private func applied(_ order: OpenOrder, _ outcome: Errno?) {
    perform(order.file.withLock { $0.applied(outcome) }, order)
  }

  // MARK: Reports

  /// Makes a report and opens it. `done` is called on any thread, with the handle or the errno of open(2).
  func openReport(
    _ report: ControlReport, done: @escaping @Sendable (Result<UInt64, Errno>) -> Void
  ) {
    guard let reports else { return done(.failure(.staleNFSFileHandle)) }
    reports.open(report, done: done)
  }
}

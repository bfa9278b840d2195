/// The files of the control directory that programs read: numbers of the mount, for a process that has the mount and not
/// the control socket, as in a container.
///
/// What an open file has is made at its open and stays as it is: a program that reads it in parts gets one report.
import FileSystem
import Glibc
import Posix
import SystemPackage

final class ControlReports: Sendable {
  /// Bytes of one report, and of all that are open.
  static let limit = 1 << 20
  static let totalLimit = 16 << 20
  /// Their nodes follow that of `order`.
  private static let firstNode = ControlDirectory.orderNode + 1
  static let lastNode = firstNode + NodeID(ControlReport.allCases.count) - 1

  private struct State {
    var texts: [UInt64: [UInt8]] = [:]
    var lastHandle: UInt64 = 0
    /// Bytes of the texts.
    var held = 0
  }

  private let make: @Sendable (ControlReport) -> [UInt8]?
  private let state = Lock(State())
  /// No thread of the mount makes one.
  private let maker: WorkerPool

  init(_ make: @escaping @Sendable (ControlReport) -> [UInt8]?) {
    self.make = make
    maker = WorkerPool(named: "reports", threads: 1, queueLimit: 64)
  }

  func shutdown() { maker.shutdown() }

  static func has(_ node: NodeID) -> Bool { (firstNode...lastNode).contains(node) }

  static func node(_ report: ControlReport) -> NodeID {
    firstNode + NodeID(ControlReport.allCases.firstIndex(of: report)!)
  }

  static func report(_ node: NodeID) -> ControlReport? {
    has(node) ? ControlReport.allCases[Int(node - firstNode)] : nil
  }

  static func report(named name: UnsafeRawBufferPointer) -> ControlReport? {
    ControlReport.allCases.first { name.elementsEqual($0.rawValue.utf8) }
  }

  /// Makes a report and opens it. `done` is called on any thread, perhaps before this returns: with the handle, or
  /// with EAGAIN where too many are being made, ENFILE where too many are open, EFBIG where the report is too large, EIO
  /// where there is none.
  func open(_ report: ControlReport, done: @escaping @Sendable (Result<UInt64, Errno>) -> Void) {
    let isTaken = maker.submit { [self] in done(keep(make(report))) }
    if !isTaken { done(.failure(.resourceTemporarilyUnavailable)) }
  }

  private func keep(_ text: [UInt8]?) -> Result<UInt64, Errno> {
    guard let text else { return .failure(.ioError) }
    guard text.count <= Self.limit else { return .failure(.fileTooLarge) }
    return state.withLock { state in
      guard state.held + text.count <= Self.totalLimit else {
        return .failure(.tooManyOpenFilesInSystem)
      }
      state.held += text.count
      state.lastHandle += 1
      state.texts[state.lastHandle] = text
      return .success(state.lastHandle)
    }
  }

  /// Of an open report, at most `count` bytes; none past its end. Nil: the handle is not known.
  func read(_ handle: UInt64, at offset: Int, count: Int) -> ArraySlice<UInt8>? {
    guard let text = state.withLock({ $0.texts[handle] }) else { return nil }
    let start = min(max(0, offset), text.count)
    return text[start..<start + min(max(0, count), text.count - start)]
  }

  func close(_ handle: UInt64) {
    state.withLock { state in
      if let text = state.texts.removeValue(forKey: handle) { state.held -= text.count }
    }
  }

  /// Reports that are open.
  var openCount: Int { state.withLock { $0.texts.count } }
}

import CFuseShim
import FileSystem
import Glibc
import Posix
import SystemPackage

/// Carries requests for the control directory to it and its answers to the kernel: at once, but for the close of an
/// order and the open of a report.
struct ControlNodes: Sendable {
  let directory: ControlDirectory
  private let mapper: AttributeMapper

  init(_ directory: ControlDirectory, _ mapper: AttributeMapper) {
    self.directory = directory
    self.mapper = mapper
  }

  func serve(_ operation: NodeRequest, _ request: fuse_req_t, _ session: FuseSession) {
    let label = trace(operation, session)
    let answer = directory.answer(operation)
    switch answer {
    case .flush(let handle):
      let parked = ParkedRequest(request, session, label: label)
      directory.flush(handle) { error in
        parked.answer(error: error) { fuse_reply_err($0, error?.rawValue ?? 0) }
      }
    case .openReport(let report):
      openReport(report, ParkedRequest(request, session, label: label, countsWait: false))
    case .entries(let entries, let first):
      guard case .readdir(_, _, let size, _, let plus) = operation else { return }
      replyEntries(request, entries, from: first, size: size, plus: plus)
    default:
      if reply(request, answer) != 0 { directory.takeBack(answer) }
    }
  }

  private func openReport(_ report: ControlReport, _ parked: ParkedRequest) {
    directory.openReport(report) { [directory] result in
      switch result {
      case .failure(let error):
        parked.answer(error: error) { fuse_reply_err($0, error.rawValue) }
      case .success(let handle):
        let isTaken = parked.answer { Self.replyOpen($0, handle) }
        if !isTaken { directory.reports?.close(handle) }
      }
    }
    parked.watch()
  }

  /// Returns what libfuse's reply did: 0, or the kernel did not get it.
  private func reply(_ request: fuse_req_t, _ answer: ControlAnswer) -> CInt {
    switch answer {
    case .done: return fuse_reply_err(request, 0)
    case .failed(let error): return fuse_reply_err(request, error.rawValue)
    case .entry(let node):
      var entry = entry(node)
      return fuse_reply_entry(request, &entry)
    case .attributes(let node):
      var status = status(node)
      return fuse_reply_attr(request, &status, Self.attributesTimeout)
    case .openedDirectory:
      var info = fuse_file_info()
      return fuse_reply_open(request, &info)
    case .opened(let handle): return Self.replyOpen(request, handle)
    case .created(let node, let handle):
      var entry = entry(node)
      var info = Self.info(handle)
      return fuse_reply_create(request, &entry, &info)
    case .bytes(let bytes):
      return bytes.withUnsafeBytes {
        fuse_reply_buf(request, $0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count)
      }
    case .written(let count): return fuse_reply_write(request, count)
    case .entries, .flush, .openReport: preconditionFailure("answered by `serve`")
    }
  }

  private func replyEntries(
    _ request: fuse_req_t, _ entries: [ControlEntry], from first: Int, size: Int, plus: Bool
  ) {
    var packer = EntryPacker(size: size, plus: plus)
    for (index, entry) in entries.enumerated().dropFirst(first) {
      // Without a node: the kernel looks the name up when it needs it.
      var parameters = fuse_entry_param()
      parameters.attr = status(entry.node)
      let name = Array(entry.name.utf8)
      let fits = name.withUnsafeBytes { packer.add($0, &parameters, next: off_t(index + 1)) }
      guard fits else { break }
    }
    let bytes = packer.bytes
    _ = fuse_reply_buf(
      request, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
  }

  // MARK: libfuse's structures

  /// Seconds. The attributes never change.
  private static let attributesTimeout = 3600.0

  private func status(_ node: ControlNode) -> stat {
    var status = stat()
    status.st_ino = ino_t(node.number)
    status.st_mode = node.mode
    status.st_nlink = 1
    status.st_uid = mapper.owner
    status.st_gid = mapper.group
    status.st_blksize = 1 << 17
    return status
  }

  private func entry(_ node: ControlNode) -> fuse_entry_param {
    var entry = fuse_entry_param()
    entry.ino = node.number
    entry.attr = status(node)
    entry.attr_timeout = Self.attributesTimeout
    entry.entry_timeout = node.nameTimeout
    return entry
  }

  /// Past the page cache: a report is as long as it is read, an order as it is written.
  private static func info(_ handle: UInt64) -> fuse_file_info {
    var info = fuse_file_info()
    info.fh = handle
    info.direct_io = 1
    return info
  }

  private static func replyOpen(_ request: fuse_req_t, _ handle: UInt64) -> CInt {
    var info = info(handle)
    return fuse_reply_open(request, &info)
  }

  // MARK: Log

  private func trace(_ operation: NodeRequest, _ session: FuseSession) -> String? {
    let node = operation.node
    switch operation {
    case .lookup(_, let name): return session.trace("lookup", node) { Self.detail(name) }
    case .getattr: return session.trace("getattr", node)
    case .setattr(_, let changesRights):
      let isRefused = changesRights || ControlReports.has(node)
      return isRefused ? nil : session.trace("getattr", node)
    case .opendir: return session.trace("opendir", node)
    case .readdir(_, _, let size, let offset, _):
      return session.trace("readdir", node) { "offset=\(offset) size=\(size)" }
    case .releasedir: return session.trace("releasedir", node)
    case .open: return session.trace("open", node)
    case .read(_, _, let size, let offset):
      guard ControlReports.has(node) else { return nil }
      return session.trace("read", node) { "offset=\(offset) size=\(size)" }
    case .create(_, let name): return session.trace("create", node) { Self.detail(name) }
    case .write(_, _, let bytes, let offset):
      return session.trace("write", ControlDirectory.firstNode) {
        "offset=\(offset) size=\(bytes.count)"
      }
    case .flush: return session.trace("flush", node)
    case .release: return session.trace("release", node)
    case .unlink(_, let name): return session.trace("unlink", node) { Self.detail(name) }
    case .access, .getxattr, .listxattr: return nil
    }
  }

  private static func detail(_ name: UnsafeRawBufferPointer) -> String {
    "name=\(String(decoding: name, as: UTF8.self))"
  }
}

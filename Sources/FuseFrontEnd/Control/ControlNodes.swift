import CFuseShim
import FileSystem
import Glibc
import Posix
import SystemPackage

/// Requests for nodes of the control folder. Each answers at once, but for the close of an order and the open of a
/// report.
extension FuseSession {
  /// True: it was one, and is answered.
  func controlLookup(
    _ request: fuse_req_t, _ parent: NodeID, _ name: UnsafeRawBufferPointer
  ) -> Bool {
    guard let control else { return false }
    var node: NodeID?
    if parent == FileSystem.root {
      guard name.elementsEqual(ControlDirectory.name) else { return false }
      node = ControlDirectory.firstNode
    } else if ControlDirectory.has(parent) {
      let report = control.reports == nil ? nil : ControlReports.report(named: name)
      node =
        report.map(ControlReports.node) ?? control.order(of: name).flatMap { control.lookUp($0) }
    } else {
      return false
    }
    guard let node else {
      _ = fuse_reply_err(request, ENOENT)
      return true
    }
    var entry = control.entry(node, view)
    if fuse_reply_entry(request, &entry) != 0 { control.forget(node, count: 1) }
    return true
  }

  func controlAttributes(_ request: fuse_req_t, _ node: NodeID) {
    trace("getattr", node)
    guard var status = control?.status(node, view) else { return refuseControl(request, ENOENT) }
    _ = fuse_reply_attr(request, &status, 3600)
  }

  /// Truncating is what opening for writing does first; times may be set to no effect.
  func controlSetAttributes(_ request: fuse_req_t, _ node: NodeID, _ what: CInt) {
    if ControlReports.has(node) { return refuseControl(request, EACCES) }
    let refused = FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID
    guard what & refused == 0 else { return refuseControl(request, EPERM) }
    controlAttributes(request, node)
  }

  func controlOpenFolder(_ request: fuse_req_t) {
    trace("opendir", ControlDirectory.firstNode)
    var info = fuse_file_info()
    _ = fuse_reply_open(request, &info)
  }

  func controlReadFolder(
    _ request: fuse_req_t, size: Int, offset: off_t, plus: Bool
  ) {
    trace("readdir", ControlDirectory.firstNode) { "offset=\(offset) size=\(size)" }
    guard let control else { return refuseControl(request, ENOENT) }
    let buffer = UnsafeMutablePointer<CChar>.allocate(capacity: size)
    defer { buffer.deallocate() }
    var used = 0
    let entries = [(".", ControlDirectory.firstNode), ("..", FileSystem.root)] + control.names
    for (index, entry) in entries.enumerated().dropFirst(Int(clamping: max(0, offset))) {
      var status = control.status(entry.1, view)
      let next = off_t(index + 1)
      let needed: Int
      if plus {
        // Without a node: the kernel looks the name up when it needs it.
        var parameters = fuse_entry_param()
        parameters.attr = status
        needed = fuse_add_direntry_plus(
          request, buffer + used, size - used, entry.0, &parameters, next)
      } else {
        needed = fuse_add_direntry(request, buffer + used, size - used, entry.0, &status, next)
      }
      guard needed <= size - used else { break }
      used += needed
    }
    _ = fuse_reply_buf(request, buffer, used)
  }

  func controlOpen(_ request: fuse_req_t, _ node: NodeID, flags: CInt) {
    if let report = ControlReports.report(node) {
      return openReport(request, node, report, flags: flags)
    }
    trace("open", node)
    guard let control, node != ControlDirectory.firstNode else {
      return refuseControl(request, EISDIR)
    }
    guard let handle = control.open(node) else { return refuseControl(request, ESTALE) }
    var info = fuse_file_info()
    info.fh = handle
    info.direct_io = 1
    if fuse_reply_open(request, &info) != 0 { control.close(handle) }
  }

  private func openReport(
    _ request: fuse_req_t, _ node: NodeID, _ report: ControlReport, flags: CInt
  ) {
    let label = trace("open", node)
    guard let reports = control?.reports else { return refuseControl(request, ESTALE) }
    guard flags & O_ACCMODE == O_RDONLY else { return refuseControl(request, EACCES) }
    let parked = ParkedRequest(request, self, label: label, countsWait: false)
    reports.open(report) { result in
      switch result {
      case .failure(let error):
        parked.answer(error: error) { fuse_reply_err($0, error.rawValue) }
      case .success(let handle):
        var info = fuse_file_info()
        info.fh = handle
        info.direct_io = 1
        if !parked.answer({ fuse_reply_open($0, &info) }) { reports.close(handle) }
      }
    }
    parked.watch()
  }

  /// An order gives nothing back.
  func controlRead(
    _ request: fuse_req_t, _ node: NodeID, _ handle: UInt64, size: Int, offset: off_t
  ) {
    guard ControlReports.has(node) else {
      _ = fuse_reply_buf(request, nil, 0)
      return
    }
    trace("read", node) { "offset=\(offset) size=\(size)" }
    guard let text = control?.reports?.read(handle, at: Int(offset), count: size) else {
      return refuseControl(request, EBADF)
    }
    text.withUnsafeBytes {
      _ = fuse_reply_buf(request, $0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count)
    }
  }

  func controlCreate(_ request: fuse_req_t, _ name: UnsafePointer<CChar>?) {
    let bytes = UnsafeRawBufferPointer(start: name, count: name.map { strlen($0) } ?? 0)
    trace("create", ControlDirectory.firstNode) { "name=\(String(decoding: bytes, as: UTF8.self))" }
    guard let control, let order = control.order(of: bytes) else {
      return refuseControl(request, EPERM)
    }
    let node = control.create(order)
    guard let handle = control.open(node) else { return refuseControl(request, ESTALE) }
    var entry = control.entry(node, view)
    var info = fuse_file_info()
    info.fh = handle
    info.direct_io = 1
    if fuse_reply_create(request, &entry, &info) != 0 {
      control.close(handle)
      control.forget(node, count: 1)
    }
  }

  func controlWrite(
    _ request: fuse_req_t, _ handle: UInt64, _ bytes: UnsafePointer<CChar>?, _ size: Int,
    _ offset: off_t
  ) {
    trace("write", ControlDirectory.firstNode) { "offset=\(offset) size=\(size)" }
    let buffer = UnsafeRawBufferPointer(start: bytes, count: size)
    guard let control else { return refuseControl(request, EBADF) }
    if let error = control.write(handle, buffer, at: Int(offset)) {
      return refuseControl(request, error.rawValue)
    }
    _ = fuse_reply_write(request, size)
  }

  func controlFlush(_ request: fuse_req_t, _ node: NodeID, _ handle: UInt64) {
    let label = trace("flush", node)
    if ControlReports.has(node) { return refuseControl(request, 0) }
    guard let control else { return refuseControl(request, EBADF) }
    let parked = ParkedRequest(request, self, label: label)
    control.flush(handle) { error in
      parked.answer(error: error) { fuse_reply_err($0, error?.rawValue ?? 0) }
    }
  }

  func controlRelease(_ request: fuse_req_t, _ node: NodeID, _ handle: UInt64) {
    if ControlReports.has(node) { control?.reports?.close(handle) } else { control?.close(handle) }
    _ = fuse_reply_err(request, 0)
  }

  func controlUnlink(_ request: fuse_req_t, _ name: UnsafePointer<CChar>?) {
    let bytes = UnsafeRawBufferPointer(start: name, count: name.map { strlen($0) } ?? 0)
    trace("unlink", ControlDirectory.firstNode) { "name=\(String(decoding: bytes, as: UTF8.self))" }
    if control?.reports != nil, ControlReports.report(named: bytes) != nil {
      return refuseControl(request, EPERM)
    }
    guard let control, let order = control.order(of: bytes), control.remove(order) else {
      return refuseControl(request, ENOENT)
    }
    _ = fuse_reply_err(request, 0)
  }

  private func refuseControl(_ request: fuse_req_t, _ code: CInt) {
    _ = fuse_reply_err(request, code)
  }
}

import CFuseShim
import FileSystem
import Glibc
import Metrics
import Posix
import SystemPackage

extension FuseSession {
  func lookup(_ request: fuse_req_t, _ parent: NodeID, _ name: UnsafePointer<CChar>?) {
    metrics.lookups.add()
    let bytes = FuseSession.bytes(of: name)
    guard bytes.count <= DirectoryReply.nameLimit else {
      _ = fuse_reply_err(request, ENAMETOOLONG)
      return
    }
    let label = trace("lookup", parent) { "name=\(String(decoding: bytes, as: UTF8.self))" }
    if controlLookup(request, parent, bytes) { return }
    let parked = ParkedRequest(request, self, label: label)
    fileSystem.lookup(parent: parent, name: bytes) { result in
      switch result {
      case .success(.found(let attributes)):
        if attributes.kind == .file {
          parked.connection.attributePolicy.withLock { $0.lookedUp(in: parent) }
        }
        var entry = parked.connection.view.entry(attributes)
        if !parked.answer({ fuse_reply_entry($0, &entry) }) {
          parked.connection.fileSystem.forget(attributes.node, count: 1)
        }
      case .success(.absent(let validFor)):
        guard validFor > .zero else { return parked.fail(.noSuchFileOrDirectory, during: .lookup) }
        var entry = AttributeMapper.absence(validFor: validFor)
        parked.answer(error: .noSuchFileOrDirectory) { fuse_reply_entry($0, &entry) }
      case .failure(let error): parked.fail(error, during: .lookup)
      }
    }
    parked.watch()
  }

  func forget(_ request: fuse_req_t, _ node: NodeID, _ count: UInt64) {
    metrics.forgets.add()
    giveBack(node, count)
    fuse_reply_none(request)
  }

  func forget(_ request: fuse_req_t, _ list: UnsafeBufferPointer<fuse_forget_data>) {
    metrics.forgets.add(list.count)
    for item in list { giveBack(item.ino, item.nlookup) }
    fuse_reply_none(request)
  }

  private func giveBack(_ node: NodeID, _ count: UInt64) {
    trace("forget", node)
    if ControlDirectory.has(node) {
      control?.forget(node, count: count)
      return
    }
    folderCopies.withLock { $0.forget(node) }
    passthrough?.forget(node)
    fileSystem.forget(node, count: count)
  }

  func getattr(_ request: fuse_req_t, _ node: NodeID) {
    metrics.getattrs.add()
    let label = trace("getattr", node)
    let parked = ParkedRequest(request, self, label: label)
    fileSystem.attributes(of: node) { result in
      switch result {
      case .success(let attributes):
        var status = parked.connection.view.status(of: attributes)
        let timeout = AttributeMapper.timeout(attributes.validFor)
        parked.answer { fuse_reply_attr($0, &status, timeout) }
      case .failure(let error): parked.fail(error, during: .getattr)
      }
    }
    parked.watch()
  }

  /// access(2) and chdir(2) of a mount without default_permissions: only the user who mounted gets
  /// here. Reading is allowed, writing never, executing as the mode says.
  func access(_ request: fuse_req_t, _ node: NodeID, _ mask: CInt) {
    trace("access", node) { "mask=\(mask)" }
    guard mask & W_OK == 0 else {
      _ = fuse_reply_err(request, EROFS)
      return
    }
    guard mask & X_OK != 0 else {
      _ = fuse_reply_err(request, 0)
      return
    }
    let parked = ParkedRequest(request, self)
    fileSystem.attributes(of: node) { result in
      switch result {
      case .success(let attributes):
        let canExecute = parked.connection.view.mode(of: attributes.kind) & 0o111 != 0
        parked.answer { fuse_reply_err($0, canExecute ? 0 : EACCES) }
      case .failure(let error): parked.fail(error, during: .access)
      }
    }
    parked.watch()
  }

  /// An empty disk of 1 PiB: how much a bucket holds is not known without listing all of it. A full one sets off the
  /// alerts of monitoring, total 0 hides the mount from df. That nothing can be written the mount's `ro` says.
  func statfs(_ request: fuse_req_t) {
    trace("statfs", 1)
    var status = statvfs()
    status.f_bsize = 4096
    status.f_frsize = 4096
    status.f_blocks = (1 << 50) / 4096
    status.f_bfree = status.f_blocks
    status.f_bavail = status.f_blocks
    status.f_namemax = UInt(DirectoryReply.nameLimit)
    _ = fuse_reply_statfs(request, &status)
  }

  func getxattr(
    _ request: fuse_req_t, _ node: NodeID, _ name: UnsafePointer<CChar>?, _ size: Int
  ) {
    let bytes = FuseSession.bytes(of: name)
    let label = trace("getxattr", node) { "name=\(String(decoding: bytes, as: UTF8.self))" }
    let parked = ParkedRequest(request, self, label: label)
    fileSystem.extendedAttribute(of: node, name: bytes) { result in
      switch result {
      case .success(let value): parked.answer { FuseSession.reply($0, value, size) }
      case .failure(let error): parked.fail(error, during: .getxattr)
      }
    }
    parked.watch()
  }

  func listxattr(_ request: fuse_req_t, _ node: NodeID, _ size: Int) {
    let label = trace("listxattr", node)
    let parked = ParkedRequest(request, self, label: label)
    fileSystem.extendedAttributeNames(of: node) { result in
      switch result {
      case .success(let names):
        let list: [UInt8] = names.flatMap { Array($0.utf8) + [0 as UInt8] }
        parked.answer { FuseSession.reply($0, list, size) }
      case .failure(let error): parked.fail(error, during: .listxattr)
      }
    }
    parked.watch()
  }

  /// getxattr(2): size 0 asks how much there is.
  private static func reply(_ request: fuse_req_t, _ value: [UInt8], _ size: Int) -> CInt {
    if size == 0 { return fuse_reply_xattr(request, value.count) }
    guard value.count <= size else { return fuse_reply_err(request, ERANGE) }
    return value.withUnsafeBytes {
      fuse_reply_buf(request, $0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count)
    }
  }

  private static func bytes(of name: UnsafePointer<CChar>?) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: name, count: name.map { strlen($0) } ?? 0)
  }
}

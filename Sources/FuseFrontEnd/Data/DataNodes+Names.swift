import CFuseShim
import FileSystem
import Glibc
import Metrics
import Posix
import SystemPackage

/// Names and attributes.
extension DataNodes {
  func lookup(
    _ request: fuse_req_t, _ session: FuseSession, _ parent: NodeID, _ name: UnsafeRawBufferPointer
  ) {
    let label = session.trace("lookup", parent) {
      "name=\(String(decoding: name, as: UTF8.self))"
    }
    let parked = ParkedRequest(request, session, label: label)
    fileSystem.lookup(parent: parent, name: name) { [self] result in
      switch result {
      case .success(.found(let attributes)):
        if attributes.kind == .file { directories.lookedUpFile(in: parent) }
        var entry = mapper.entry(attributes)
        if !parked.answer({ fuse_reply_entry($0, &entry) }) {
          fileSystem.forget(attributes.node, count: 1)
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

  func getattr(_ request: fuse_req_t, _ session: FuseSession, _ node: NodeID) {
    metrics.getattrs.add()
    let label = session.trace("getattr", node)
    let parked = ParkedRequest(request, session, label: label)
    fileSystem.attributes(of: node) { [self] result in
      switch result {
      case .success(let attributes):
        var status = mapper.status(of: attributes)
        let timeout = AttributeMapper.timeout(attributes.validFor)
        parked.answer { fuse_reply_attr($0, &status, timeout) }
      case .failure(let error): parked.fail(error, during: .getattr)
      }
    }
    parked.watch()
  }

  /// access(2) and chdir(2) of a mount without default_permissions: only the user who mounted gets
  /// here. Reading is allowed, writing never, executing as the mode says.
  func access(_ request: fuse_req_t, _ session: FuseSession, _ node: NodeID, _ mask: CInt) {
    session.trace("access", node) { "mask=\(mask)" }
    guard mask & W_OK == 0 else {
      _ = fuse_reply_err(request, EROFS)
      return
    }
    guard mask & X_OK != 0 else {
      _ = fuse_reply_err(request, 0)
      return
    }
    let parked = ParkedRequest(request, session)
    fileSystem.attributes(of: node) { [self] result in
      switch result {
      case .success(let attributes):
        let canExecute = mapper.mode(of: attributes.kind) & 0o111 != 0
        parked.answer { fuse_reply_err($0, canExecute ? 0 : EACCES) }
      case .failure(let error): parked.fail(error, during: .access)
      }
    }
    parked.watch()
  }

  /// An empty disk of 1 PiB: how much a bucket holds is not known without listing all of it. A full one sets off the
  /// alerts of monitoring, total 0 hides the mount from df. That nothing can be written the mount's `ro` says.
  func statfs(_ request: fuse_req_t, _ session: FuseSession) {
    session.trace("statfs", 1)
    var status = statvfs()
    status.f_bsize = 4096
    status.f_frsize = 4096
    status.f_blocks = (1 << 50) / 4096
    status.f_bfree = status.f_blocks
    status.f_bavail = status.f_blocks
    status.f_namemax = UInt(RequestTable.nameLimit)
    _ = fuse_reply_statfs(request, &status)
  }

  func getxattr(
    _ request: fuse_req_t, _ session: FuseSession, _ node: NodeID, _ name: UnsafeRawBufferPointer,
    _ size: Int
  ) {
    let label = session.trace("getxattr", node) {
      "name=\(String(decoding: name, as: UTF8.self))"
    }
    let parked = ParkedRequest(request, session, label: label)
    fileSystem.extendedAttribute(of: node, name: name) { result in
      switch result {
      case .success(let value): parked.answer { Self.reply($0, value, size) }
      case .failure(let error): parked.fail(error, during: .getxattr)
      }
    }
    parked.watch()
  }

  func listxattr(_ request: fuse_req_t, _ session: FuseSession, _ node: NodeID, _ size: Int) {
    let label = session.trace("listxattr", node)
    let parked = ParkedRequest(request, session, label: label)
    fileSystem.extendedAttributeNames(of: node) { result in
      switch result {
      case .success(let names):
        let list: [UInt8] = names.flatMap { Array($0.utf8) + [0 as UInt8] }
        parked.answer { Self.reply($0, list, size) }
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
}

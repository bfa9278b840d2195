import CFuseShim
import FileSystem
import Glibc
import SystemPackage

/// The table of callbacks that libfuse is given. Each entry finds the session of its request; the
/// work is in `FuseSession`'s extensions.
///
/// What is left out answers ENOSYS, and that is meant: fsync (the kernel stops asking and
/// lets it succeed), lseek, locks, poll and ioctl (the kernel does what it does by default).
enum RequestTable {
  static func table() -> fuse_lowlevel_ops {
    var table = fuse_lowlevel_ops()
    table.`init` = { userdata, connection in
      guard let userdata, let connection else { return }
      Unmanaged<FuseSession>.fromOpaque(userdata)._withUnsafeGuaranteedRef {
        $0.settle(&connection.pointee)
      }
    }
    addNames(to: &table)
    addFolders(to: &table)
    addFiles(to: &table)
    addRefusals(to: &table)
    return table
  }

  private static func addNames(to table: inout fuse_lowlevel_ops) {
    table.lookup = { request, parent, name in
      FuseSession.with(request) { $0.lookup($1, parent, name) }
    }
    table.forget = { request, node, count in
      FuseSession.with(request) { $0.forget($1, node, count) }
    }
    table.forget_multi = { request, count, list in
      FuseSession.with(request) { $0.forget($1, UnsafeBufferPointer(start: list, count: count)) }
    }
    table.getattr = { request, node, _ in
      FuseSession.with(request) {
        ControlDirectory.has(node) ? $0.controlAttributes($1, node) : $0.getattr($1, node)
      }
    }
    table.access = { request, node, mask in
      if ControlDirectory.has(node) { return refuse(request, Errno(rawValue: 0)) }
      FuseSession.with(request) { $0.access($1, node, mask) }
    }
    // There are files and folders alone.
    table.readlink = { request, _ in refuse(request, .invalidArgument) }
    table.statfs = { request, _ in FuseSession.with(request) { $0.statfs($1) } }
    table.getxattr = { request, node, name, size in
      if ControlDirectory.has(node) { return refuse(request, .notSupported) }
      FuseSession.with(request) { $0.getxattr($1, node, name, size) }
    }
    table.listxattr = { request, node, size in
      if ControlDirectory.has(node) { return refuse(request, .notSupported) }
      FuseSession.with(request) { $0.listxattr($1, node, size) }
    }
  }

  private static func addFolders(to table: inout fuse_lowlevel_ops) {
    table.opendir = { request, node, _ in
      FuseSession.with(request) {
        ControlDirectory.has(node) ? $0.controlOpenFolder($1) : $0.opendir($1, node)
      }
    }
    table.readdir = { request, node, size, offset, info in
      guard let handle = info?.pointee.fh else { return refuse(request, .badFileDescriptor) }
      FuseSession.with(request) {
        ControlDirectory.has(node)
          ? $0.controlReadFolder($1, size: size, offset: offset, plus: false)
          : $0.readdir($1, node, handle, size: size, offset: offset, plus: false)
      }
    }
    table.readdirplus = { request, node, size, offset, info in
      guard let handle = info?.pointee.fh else { return refuse(request, .badFileDescriptor) }
      FuseSession.with(request) {
        ControlDirectory.has(node)
          ? $0.controlReadFolder($1, size: size, offset: offset, plus: true)
          : $0.readdir($1, node, handle, size: size, offset: offset, plus: true)
      }
    }
    table.releasedir = { request, node, info in
      FuseSession.with(request) { session, _ in session.trace("releasedir", node) }
      if ControlDirectory.has(node) { return refuse(request, Errno(rawValue: 0)) }
      guard let handle = info?.pointee.fh else { return refuse(request, .badFileDescriptor) }
      FuseSession.with(request) { $0.releasedir($1, handle) }
    }
  }

  private static func addFiles(to table: inout fuse_lowlevel_ops) {
    table.open = { request, node, info in
      guard let flags = info?.pointee.flags else { return refuse(request, .badFileDescriptor) }
      FuseSession.with(request) {
        ControlDirectory.has(node)
          ? $0.controlOpen($1, node, flags: flags) : $0.open($1, node, flags: flags)
      }
    }
    table.read = { request, node, size, offset, info in
      guard let handle = info?.pointee.fh else { return refuse(request, .badFileDescriptor) }
      FuseSession.with(request) {
        ControlDirectory.has(node)
          ? $0.controlRead($1, node, handle, size: size, offset: offset)
          : $0.read($1, handle, size: size, offset: offset)
      }
    }
    table.release = { request, node, info in
      guard let handle = info?.pointee.fh else { return refuse(request, .badFileDescriptor) }
      FuseSession.with(request) {
        $0.trace("release", node)
        ControlDirectory.has(node) ? $0.controlRelease($1, node, handle) : $0.release($1, handle)
      }
    }
    // Only for files of the control directory. The others are opened with "no flush". A kernel that does
    // not know this flag (before 5.16) gets one ENOSYS reply.
    table.flush = { request, node, info in
      guard let handle = info?.pointee.fh, ControlDirectory.has(node) else {
        return refuse(request, .noFunction)
      }
      FuseSession.with(request) { $0.controlFlush($1, node, handle) }
    }
  }

  /// Whatever would write. The mount is not "ro" to the kernel, so this is where EROFS comes from.
  private static func addRefusals(to table: inout fuse_lowlevel_ops) {
    table.setattr = { request, node, _, what, _ in
      guard ControlDirectory.has(node) else { return refuseWrite(request, "setattr", node) }
      FuseSession.with(request) { $0.controlSetAttributes($1, node, what) }
    }
    table.mknod = { request, node, _, _, _ in refuseWrite(request, "mknod", node) }
    table.mkdir = { request, node, _, _ in refuseWrite(request, "mkdir", node) }
    table.unlink = { request, parent, name in
      guard ControlDirectory.has(parent) else { return refuseWrite(request, "unlink", parent) }
      FuseSession.with(request) { $0.controlUnlink($1, name) }
    }
    table.rmdir = { request, node, _ in refuseWrite(request, "rmdir", node) }
    table.symlink = { request, _, node, _ in refuseWrite(request, "symlink", node) }
    table.rename = { request, node, _, _, _, _ in refuseWrite(request, "rename", node) }
    table.link = { request, node, _, _ in refuseWrite(request, "link", node) }
    table.create = { request, parent, name, _, _ in
      guard ControlDirectory.has(parent) else { return refuseWrite(request, "create", parent) }
      FuseSession.with(request) { $0.controlCreate($1, name) }
    }
    table.write = { request, node, bytes, size, offset, info in
      guard ControlDirectory.has(node), let handle = info?.pointee.fh else {
        return refuseWrite(request, "write", node)
      }
      FuseSession.with(request) { $0.controlWrite($1, handle, bytes, size, offset) }
    }
    table.setxattr = { request, node, _, _, _, _ in refuseWrite(request, "setxattr", node) }
    table.removexattr = { request, node, _ in refuseWrite(request, "removexattr", node) }
    table.fallocate = { request, node, _, _, _, _ in refuseWrite(request, "fallocate", node) }
    table.copy_file_range = { request, node, _, _, _, _, _, _, _ in
      refuseWrite(request, "copy_file_range", node)
    }
  }
}

private func refuse(_ request: fuse_req_t?, _ error: Errno = .readOnlyFileSystem) {
  _ = fuse_reply_err(request, error.rawValue)
}

/// What would write below the mount, which is read-only.
private func refuseWrite(_ request: fuse_req_t?, _ operation: StaticString, _ node: NodeID) {
  FuseSession.with(request) { session, _ in session.trace(operation, node) { "refused: EROFS" } }
  refuse(request)
}

import CFuseShim
import Glibc
import SystemPackage

/// The table of callbacks that libfuse is given. Each entry finds the session of its request; the
/// work is in `Session`'s extensions.
///
/// What is left out answers ENOSYS, and that is meant: fsync (the kernel stops asking and
/// lets it succeed), lseek, locks, poll and ioctl (the kernel does what it does by default).
enum Operations {
  static func table() -> fuse_lowlevel_ops {
    var table = fuse_lowlevel_ops()
    table.`init` = { userdata, connection in
      guard let userdata, let connection else { return }
      Unmanaged<Session>.fromOpaque(userdata)._withUnsafeGuaranteedRef {
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
      Session.with(request) { $0.lookup($1, parent, name) }
    }
    table.forget = { request, node, count in
      Session.with(request) { $0.forget($1, node, count) }
    }
    table.forget_multi = { request, count, list in
      Session.with(request) { $0.forget($1, UnsafeBufferPointer(start: list, count: count)) }
    }
    table.getattr = { request, node, _ in
      Session.with(request) {
        ControlFolder.has(node) ? $0.controlAttributes($1, node) : $0.getattr($1, node)
      }
    }
    table.access = { request, node, mask in
      if ControlFolder.has(node) { return refuse(request, Errno(rawValue: 0)) }
      Session.with(request) { $0.access($1, node, mask) }
    }
    // There are files and folders alone.
    table.readlink = { request, _ in refuse(request, .invalidArgument) }
    table.statfs = { request, _ in Session.with(request) { $0.statfs($1) } }
    table.getxattr = { request, node, name, size in
      if ControlFolder.has(node) { return refuse(request, .notSupported) }
      Session.with(request) { $0.getxattr($1, node, name, size) }
    }
    table.listxattr = { request, node, size in
      if ControlFolder.has(node) { return refuse(request, .notSupported) }
      Session.with(request) { $0.listxattr($1, node, size) }
    }
  }

  private static func addFolders(to table: inout fuse_lowlevel_ops) {
    table.opendir = { request, node, _ in
      Session.with(request) {
        ControlFolder.has(node) ? $0.controlOpenFolder($1) : $0.opendir($1, node)
      }
    }
    table.readdir = { request, node, size, offset, info in
      guard let handle = info?.pointee.fh else { return refuse(request, .badFileDescriptor) }
      Session.with(request) {
        ControlFolder.has(node)
          ? $0.controlReadFolder($1, size: size, offset: offset, plus: false)
          : $0.readdir($1, node, handle, size: size, offset: offset, plus: false)
      }
    }
    table.readdirplus = { request, node, size, offset, info in
      guard let handle = info?.pointee.fh else { return refuse(request, .badFileDescriptor) }
      Session.with(request) {
        ControlFolder.has(node)
          ? $0.controlReadFolder($1, size: size, offset: offset, plus: true)
          : $0.readdir($1, node, handle, size: size, offset: offset, plus: true)
      }
    }
    table.releasedir = { request, node, info in
      if ControlFolder.has(node) { return refuse(request, Errno(rawValue: 0)) }
      guard let handle = info?.pointee.fh else { return refuse(request, .badFileDescriptor) }
      Session.with(request) { $0.releasedir($1, handle) }
    }
  }

  private static func addFiles(to table: inout fuse_lowlevel_ops) {
    table.open = { request, node, info in
      guard let flags = info?.pointee.flags else { return refuse(request, .badFileDescriptor) }
      Session.with(request) {
        ControlFolder.has(node) ? $0.controlOpen($1, node) : $0.open($1, node, flags: flags)
      }
    }
    table.read = { request, node, size, offset, info in
      guard let handle = info?.pointee.fh else { return refuse(request, .badFileDescriptor) }
      if ControlFolder.has(node) {
        _ = fuse_reply_buf(request, nil, 0)
        return
      }
      Session.with(request) { $0.read($1, handle, size: size, offset: offset) }
    }
    table.release = { request, node, info in
      guard let handle = info?.pointee.fh else { return refuse(request, .badFileDescriptor) }
      Session.with(request) {
        $0.trace("release", node)
        ControlFolder.has(node) ? $0.controlRelease($1, handle) : $0.release($1, handle)
      }
    }
    // Of the control folder's files alone: the others are opened with "no flush", and a kernel that does
    // not know that (before 5.16) is told once that there is none.
    table.flush = { request, node, info in
      guard let handle = info?.pointee.fh, ControlFolder.has(node) else {
        return refuse(request, .noFunction)
      }
      Session.with(request) { $0.controlFlush($1, handle) }
    }
  }

  /// Whatever would write. The mount is not "ro" to the kernel, so this is where EROFS comes from.
  private static func addRefusals(to table: inout fuse_lowlevel_ops) {
    table.setattr = { request, node, _, what, _ in
      guard ControlFolder.has(node) else { return refuse(request) }
      Session.with(request) { $0.controlSetAttributes($1, node, what) }
    }
    table.mknod = { request, _, _, _, _ in refuse(request) }
    table.mkdir = { request, _, _, _ in refuse(request) }
    table.unlink = { request, parent, name in
      guard ControlFolder.has(parent) else { return refuse(request) }
      Session.with(request) { $0.controlUnlink($1, name) }
    }
    table.rmdir = { request, _, _ in refuse(request) }
    table.symlink = { request, _, _, _ in refuse(request) }
    table.rename = { request, _, _, _, _, _ in refuse(request) }
    table.link = { request, _, _, _ in refuse(request) }
    table.create = { request, parent, name, _, _ in
      guard ControlFolder.has(parent) else { return refuse(request) }
      Session.with(request) { $0.controlCreate($1, name) }
    }
    table.write = { request, node, bytes, size, offset, info in
      guard ControlFolder.has(node), let handle = info?.pointee.fh else { return refuse(request) }
      Session.with(request) { $0.controlWrite($1, handle, bytes, size, offset) }
    }
    table.setxattr = { request, _, _, _, _, _ in refuse(request) }
    table.removexattr = { request, _, _ in refuse(request) }
    table.fallocate = { request, _, _, _, _, _ in refuse(request) }
    table.copy_file_range = { request, _, _, _, _, _, _, _, _ in refuse(request) }
  }
}

private func refuse(_ request: fuse_req_t?, _ error: Errno = .readOnlyFileSystem) {
  _ = fuse_reply_err(request, error.rawValue)
}

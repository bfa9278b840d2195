import CFuseShim
import Glibc
import SystemPackage

/// The table of callbacks that libfuse is given. Each entry finds the session of its request; the
/// work is in `Session`'s extensions.
///
/// What is left out answers ENOSYS, and that is meant: flush and fsync (the kernel stops asking and
/// lets them succeed), lseek, locks, poll and ioctl (the kernel does what it does by default).
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
    table.getattr = { request, node, _ in Session.with(request) { $0.getattr($1, node) } }
    table.access = { request, node, mask in Session.with(request) { $0.access($1, node, mask) } }
    // There are files and folders alone.
    table.readlink = { request, _ in refuse(request, .invalidArgument) }
    table.statfs = { request, _ in Session.with(request) { $0.statfs($1) } }
    table.getxattr = { request, node, name, size in
      Session.with(request) { $0.getxattr($1, node, name, size) }
    }
    table.listxattr = { request, node, size in
      Session.with(request) { $0.listxattr($1, node, size) }
    }
  }

  private static func addFolders(to table: inout fuse_lowlevel_ops) {
    table.opendir = { request, node, _ in Session.with(request) { $0.opendir($1, node) } }
    table.readdir = { request, node, size, offset, info in
      guard let handle = info?.pointee.fh else { return refuse(request, .badFileDescriptor) }
      Session.with(request) {
        $0.readdir($1, node, handle, size: size, offset: offset, plus: false)
      }
    }
    table.readdirplus = { request, node, size, offset, info in
      guard let handle = info?.pointee.fh else { return refuse(request, .badFileDescriptor) }
      Session.with(request) { $0.readdir($1, node, handle, size: size, offset: offset, plus: true) }
    }
    table.releasedir = { request, _, info in
      guard let handle = info?.pointee.fh else { return refuse(request, .badFileDescriptor) }
      Session.with(request) { $0.releasedir($1, handle) }
    }
  }

  private static func addFiles(to table: inout fuse_lowlevel_ops) {
    table.open = { request, node, info in
      guard let flags = info?.pointee.flags else { return refuse(request, .badFileDescriptor) }
      Session.with(request) { $0.open($1, node, flags: flags) }
    }
    table.read = { request, _, size, offset, info in
      guard let handle = info?.pointee.fh else { return refuse(request, .badFileDescriptor) }
      Session.with(request) { $0.read($1, handle, size: size, offset: offset) }
    }
    table.release = { request, _, info in
      guard let handle = info?.pointee.fh else { return refuse(request, .badFileDescriptor) }
      Session.with(request) { $0.release($1, handle) }
    }
  }

  /// Whatever would write. The mount is not "ro" to the kernel, so this is where EROFS comes from.
  private static func addRefusals(to table: inout fuse_lowlevel_ops) {
    table.setattr = { request, _, _, _, _ in refuse(request) }
    table.mknod = { request, _, _, _, _ in refuse(request) }
    table.mkdir = { request, _, _, _ in refuse(request) }
    table.unlink = { request, _, _ in refuse(request) }
    table.rmdir = { request, _, _ in refuse(request) }
    table.symlink = { request, _, _, _ in refuse(request) }
    table.rename = { request, _, _, _, _, _ in refuse(request) }
    table.link = { request, _, _, _ in refuse(request) }
    table.create = { request, _, _, _, _ in refuse(request) }
    table.write = { request, _, _, _, _, _ in refuse(request) }
    table.setxattr = { request, _, _, _, _, _ in refuse(request) }
    table.removexattr = { request, _, _ in refuse(request) }
    table.fallocate = { request, _, _, _, _, _ in refuse(request) }
    table.copy_file_range = { request, _, _, _, _, _, _, _, _ in refuse(request) }
  }
}

private func refuse(_ request: fuse_req_t?, _ error: Errno = .readOnlyFileSystem) {
  _ = fuse_reply_err(request, error.rawValue)
}

import CFuseShim
import FileSystem
import Glibc
import Metrics
import SystemPackage

/// The table of callbacks that libfuse is given. Each entry makes a `NodeRequest` of its arguments; the session chooses
/// by the node who answers it.
///
/// What is left out answers ENOSYS, and that is meant: fsync (the kernel stops asking and
/// lets it succeed), lseek, locks, poll and ioctl (the kernel does what it does by default).
enum RequestTable {
  /// NAME_MAX: a longer name could be seen but not looked up.
  static let nameLimit = 255

  static func callbacks() -> fuse_lowlevel_ops {
    var table = fuse_lowlevel_ops()
    table.`init` = { userdata, connection in
      guard let userdata, let connection else { return }
      Unmanaged<FuseSession>.fromOpaque(userdata)._withUnsafeGuaranteedRef {
        $0.negotiate(&connection.pointee)
      }
    }
    addNames(to: &table)
    addAttributes(to: &table)
    addDirectories(to: &table)
    addFiles(to: &table)
    addChanges(to: &table)
    return table
  }

  private static func addNames(to table: inout fuse_lowlevel_ops) {
    table.lookup = { request, parent, name in
      FuseSession.with(request) { session, request in
        session.metrics.lookups.add()
        let name = bytes(of: name)
        guard name.count <= RequestTable.nameLimit else { return refuse(request, .fileNameTooLong) }
        session.serve(.lookup(parent: parent, name: name), request)
      }
    }
    table.forget = { request, node, count in
      FuseSession.with(request) { session, request in
        session.metrics.forgets.add()
        session.forget(node, count)
        fuse_reply_none(request)
      }
    }
    table.forget_multi = { request, count, list in
      FuseSession.with(request) { session, request in
        session.metrics.forgets.add(count)
        for item in UnsafeBufferPointer(start: list, count: count) {
          session.forget(item.ino, item.nlookup)
        }
        fuse_reply_none(request)
      }
    }
  }

  private static func addAttributes(to table: inout fuse_lowlevel_ops) {
    table.getattr = { request, node, _ in serve(request, .getattr(node)) }
    table.setattr = { request, node, _, what, _ in
      let rights = FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID
      serve(request, .setattr(node, changesRights: what & rights != 0))
    }
    table.access = { request, node, mask in serve(request, .access(node, mask: mask)) }
    // There are files and directories alone.
    table.readlink = { request, _ in refuse(request, .invalidArgument) }
    table.statfs = { request, _ in
      FuseSession.with(request) { session, request in session.data.statfs(request, session) }
    }
    table.getxattr = { request, node, name, size in
      serve(request, .getxattr(node, name: bytes(of: name), size: size))
    }
    table.listxattr = { request, node, size in serve(request, .listxattr(node, size: size)) }
  }

  private static func addDirectories(to table: inout fuse_lowlevel_ops) {
    table.opendir = { request, node, _ in serve(request, .opendir(node)) }
    table.readdir = { request, node, size, offset, info in
      guard let handle = info?.pointee.fh else { return refuse(request, .badFileDescriptor) }
      serve(request, .readdir(node, handle, size: size, offset: Int64(offset), plus: false))
    }
    table.readdirplus = { request, node, size, offset, info in
      guard let handle = info?.pointee.fh else { return refuse(request, .badFileDescriptor) }
      serve(request, .readdir(node, handle, size: size, offset: Int64(offset), plus: true))
    }
    table.releasedir = { request, node, info in
      guard let handle = info?.pointee.fh else { return refuse(request, .badFileDescriptor) }
      serve(request, .releasedir(node, handle))
    }
  }

  private static func addFiles(to table: inout fuse_lowlevel_ops) {
    table.open = { request, node, info in
      guard let flags = info?.pointee.flags else { return refuse(request, .badFileDescriptor) }
      serve(request, .open(node, flags: flags))
    }
    table.read = { request, node, size, offset, info in
      guard let handle = info?.pointee.fh else { return refuse(request, .badFileDescriptor) }
      serve(request, .read(node, handle, size: size, offset: Int64(offset)))
    }
    table.create = { request, parent, name, _, _ in
      serve(request, .create(parent: parent, name: bytes(of: name)))
    }
    table.write = { request, node, bytes, size, offset, info in
      guard let handle = info?.pointee.fh else { return refuse(request, .badFileDescriptor) }
      let bytes = UnsafeRawBufferPointer(start: bytes, count: size)
      serve(request, .write(node, handle, bytes, offset: Int64(offset)))
    }
    table.flush = { request, node, info in
      guard let handle = info?.pointee.fh else { return refuse(request, .badFileDescriptor) }
      serve(request, .flush(node, handle))
    }
    table.release = { request, node, info in
      guard let handle = info?.pointee.fh else { return refuse(request, .badFileDescriptor) }
      serve(request, .release(node, handle))
    }
  }

  /// What would write, wherever it is. The mount is not "ro" to the kernel, so this is where EROFS comes from.
  private static func addChanges(to table: inout fuse_lowlevel_ops) {
    table.unlink = { request, parent, name in
      serve(request, .unlink(parent: parent, name: bytes(of: name)))
    }
    table.mknod = { request, node, _, _, _ in refuseChange(request, "mknod", node) }
    table.mkdir = { request, node, _, _ in refuseChange(request, "mkdir", node) }
    table.rmdir = { request, node, _ in refuseChange(request, "rmdir", node) }
    table.symlink = { request, _, node, _ in refuseChange(request, "symlink", node) }
    table.rename = { request, node, _, _, _, _ in refuseChange(request, "rename", node) }
    table.link = { request, node, _, _ in refuseChange(request, "link", node) }
    table.setxattr = { request, node, _, _, _, _ in refuseChange(request, "setxattr", node) }
    table.removexattr = { request, node, _ in refuseChange(request, "removexattr", node) }
    table.fallocate = { request, node, _, _, _, _ in refuseChange(request, "fallocate", node) }
    table.copy_file_range = { request, node, _, _, _, _, _, _, _ in
      refuseChange(request, "copy_file_range", node)
    }
  }
}

@inline(__always)
private func serve(_ request: fuse_req_t?, _ operation: NodeRequest) {
  FuseSession.with(request) { session, request in session.serve(operation, request) }
}

private func refuse(_ request: fuse_req_t?, _ error: Errno) {
  _ = fuse_reply_err(request, error.rawValue)
}

private func refuseChange(_ request: fuse_req_t?, _ operation: StaticString, _ node: NodeID) {
  FuseSession.with(request) { session, request in session.refuseChange(request, operation, node) }
}

/// A name that libfuse hands over as a C string.
private func bytes(of name: UnsafePointer<CChar>?) -> UnsafeRawBufferPointer {
  UnsafeRawBufferPointer(start: name, count: name.map { strlen($0) } ?? 0)
}

import CFuseShim
import FileSystem
import Glibc
import Metrics
import Posix
import SystemPackage

/// Open directories.
extension DataNodes {
  func opendir(_ request: fuse_req_t, _ session: FuseSession, _ node: NodeID) {
    let label = session.trace("opendir", node)
    let parked = ParkedRequest(request, session, label: label)
    fileSystem.openFolder(node) { [self] result in
      switch result {
      case .success(let directory): opened(directory, node, parked)
      case .failure(let error): parked.fail(error, during: .opendir)
      }
    }
    parked.watch()
  }

  private func opened(_ directory: OpenFolder, _ node: NodeID, _ parked: ParkedRequest) {
    let handle = handles.add(directory)
    var info = fuse_file_info()
    info.fh = handle
    info.cache_readdir = 1
    info.keep_cache = directories.opened(node, directory) ? 1 : 0
    if !parked.answer({ fuse_reply_open($0, &info) }) { handles.closeDirectory(handle) }
  }

  func readdir(
    _ request: fuse_req_t, _ session: FuseSession, _ node: NodeID, _ handle: UInt64, size: Int,
    offset: Int64, plus: Bool
  ) {
    metrics.readdirs.add()
    let label = session.trace(plus ? "readdirplus" : "readdir", node) {
      "offset=\(offset) size=\(size)"
    }
    let parked = ParkedRequest(request, session, label: label)
    let reply = DirectoryReply(parked, self, size: size, plus: plus)
    let attributes: OpenFolder.Attributes =
      !plus ? .none : directories.givesAttributes(of: node) ? .all : .folders
    OpenHandles.directory(handle).read(
      from: UInt64(truncatingIfNeeded: offset), attributes: attributes, add: { reply.add($0) },
      done: { reply.finish($0) })
    parked.watch()
  }

  func releasedir(
    _ request: fuse_req_t, _ session: FuseSession, _ node: NodeID, _ handle: UInt64
  ) {
    session.trace("releasedir", node)
    handles.closeDirectory(handle)
    _ = fuse_reply_err(request, 0)
  }
}

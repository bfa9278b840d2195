import CFuseShim
import FileSystem
import Glibc
import Metrics
import Posix
import SystemPackage

extension FuseSession {
  func opendir(_ request: fuse_req_t, _ node: NodeID) {
    let label = trace("opendir", node)
    let parked = ParkedRequest(request, self, label: label)
    fileSystem.openFolder(node) { result in
      switch result {
      case .success(let folder): parked.opened(folder, node)
      case .failure(let error): parked.fail(error, during: .opendir)
      }
    }
    parked.watch()
  }

  func readdir(
    _ request: fuse_req_t, _ node: NodeID, _ handle: UInt64, size: Int, offset: off_t, plus: Bool
  ) {
    metrics.readdirs.add()
    let label = trace(plus ? "readdirplus" : "readdir", node) { "offset=\(offset) size=\(size)" }
    let parked = ParkedRequest(request, self, label: label)
    let reply = DirectoryReply(parked, size: size, plus: plus)
    let attributes: OpenFolder.Attributes =
      !plus ? .none : attributePolicy.withLock { $0.givesAll(of: node) } ? .all : .folders
    OpenHandles.folder(handle).read(
      from: UInt64(truncatingIfNeeded: offset), attributes: attributes, add: { reply.add($0) },
      done: { reply.finish($0) })
    parked.watch()
  }

  func releasedir(_ request: fuse_req_t, _ handle: UInt64) {
    handles.closeFolder(handle)
    _ = fuse_reply_err(request, 0)
  }
}

extension ParkedRequest {
  fileprivate func opened(_ folder: OpenFolder, _ node: NodeID) {
    let handle = connection.handles.add(folder)
    var info = fuse_file_info()
    info.fh = handle
    let wantsAttributes = connection.attributePolicy.withLock {
      $0.opened(node, count: folder.count)
    }
    let keeps = connection.folderCopies.withLock {
      $0.keepsNames(
        of: node, listedAt: folder.unchangedSince, wantsAttributes: wantsAttributes)
    }
    info.cache_readdir = 1
    info.keep_cache = keeps ? 1 : 0
    if !answer({ fuse_reply_open($0, &info) }) { connection.handles.closeFolder(handle) }
  }
}

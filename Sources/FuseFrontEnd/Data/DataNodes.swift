import CFuseShim
import FileSystem
import Glibc
import Metrics
import Posix
import SystemPackage

/// Answers requests for files and directories of the store: by the file system or, for a read, by the open object.
///
/// A request that the file system answers at once is answered on the thread that read it; any other is parked, and
/// watched for the end of its caller.
final class DataNodes: Sendable {
  let fileSystem: FileSystem
  let mapper: AttributeMapper
  let metrics: FrontMetrics
  let handles = OpenHandles()
  let directories = KernelDirectories()
  /// nil before INIT. Written once, between INIT and the first request.
  nonisolated(unsafe) private(set) var passthrough: Passthrough?

  init(_ fileSystem: FileSystem, _ mapper: AttributeMapper, _ metrics: FrontMetrics) {
    self.fileSystem = fileSystem
    self.mapper = mapper
    self.metrics = metrics
  }

  /// INIT told whether there is passthrough.
  func use(_ passthrough: Passthrough) {
    self.passthrough = passthrough
    fileSystem.onDiskPressure { [weak passthrough] in passthrough?.closeIdle() }
  }

  func serve(_ operation: NodeRequest, _ request: fuse_req_t, _ session: FuseSession) {
    switch operation {
    case .read(_, let handle, let size, let offset):
      read(request, session, handle, size: size, offset: offset)
    case .lookup(let parent, let name): lookup(request, session, parent, name)
    case .getattr(let node): getattr(request, session, node)
    case .access(let node, let mask): access(request, session, node, mask)
    case .getxattr(let node, let name, let size): getxattr(request, session, node, name, size)
    case .listxattr(let node, let size): listxattr(request, session, node, size)
    case .opendir(let node): opendir(request, session, node)
    case .readdir(let node, let handle, let size, let offset, let plus):
      readdir(request, session, node, handle, size: size, offset: offset, plus: plus)
    case .releasedir(let node, let handle): releasedir(request, session, node, handle)
    case .open(let node, let flags): open(request, session, node, flags: flags)
    case .release(let node, let handle): release(request, session, node, handle)
    // Files are opened with "no flush". A kernel that does not know this flag (before 5.16) gets one ENOSYS reply.
    case .flush: _ = fuse_reply_err(request, ENOSYS)
    case .setattr(let node, _): session.refuseChange(request, "setattr", node)
    case .create(let parent, _): session.refuseChange(request, "create", parent)
    case .write(let node, _, _, _): session.refuseChange(request, "write", node)
    case .unlink(let parent, _): session.refuseChange(request, "unlink", parent)
    }
  }

  /// The kernel is to drop a node's pages and attributes: it is another version, or gone.
  func invalidated(_ node: NodeID) {
    directories.forget(node)
    passthrough?.forget(node)
  }

  /// The kernel holds `count` lookups of a node less.
  func forget(_ node: NodeID, _ count: UInt64) {
    directories.forget(node)
    passthrough?.forget(node)
    fileSystem.forget(node, count: count)
  }

  /// Of files that no process has open. Before the connection is cut: backing ids end through it.
  func closeBackingFiles() { passthrough?.closeIdle() }

  /// Once no request can come any more: closes what the kernel has left open.
  func closeAll() {
    handles.closeAll()
    // What those had kept open; the ids went with the connection.
    passthrough?.closeIdle()
  }
}

import FileSystem

/// A request of the kernel for one node, which `DataNodes` or `ControlDirectory` answers. What has no answer (FORGET),
/// what needs no node (STATFS) and what both refuse (MKDIR and other changes) is not among them.
///
/// Names and bytes are libfuse's: valid until its callback returns. Sizes and offsets are bytes.
enum NodeRequest {
  case lookup(parent: NodeID, name: UnsafeRawBufferPointer)
  case getattr(NodeID)
  /// `changesRights`: mode, owner or group.
  case setattr(NodeID, changesRights: Bool)
  case access(NodeID, mask: CInt)
  case getxattr(NodeID, name: UnsafeRawBufferPointer, size: Int)
  case listxattr(NodeID, size: Int)
  case opendir(NodeID)
  case readdir(NodeID, UInt64, size: Int, offset: Int64, plus: Bool)
  case releasedir(NodeID, UInt64)
  case open(NodeID, flags: CInt)
  case read(NodeID, UInt64, size: Int, offset: Int64)
  case create(parent: NodeID, name: UnsafeRawBufferPointer)
  case write(NodeID, UInt64, UnsafeRawBufferPointer, offset: Int64)
  case flush(NodeID, UInt64)
  case release(NodeID, UInt64)
  case unlink(parent: NodeID, name: UnsafeRawBufferPointer)

  /// The node that decides who answers: of the directory, where a name in it is meant.
  @inline(__always)
  var node: NodeID {
    switch self {
    case .lookup(let node, _), .getattr(let node), .setattr(let node, _), .access(let node, _),
      .getxattr(let node, _, _), .listxattr(let node, _), .opendir(let node),
      .readdir(let node, _, _, _, _), .releasedir(let node, _), .open(let node, _),
      .read(let node, _, _, _), .create(let node, _), .write(let node, _, _, _),
      .flush(let node, _), .release(let node, _), .unlink(let node, _):
      node
    }
  }
}

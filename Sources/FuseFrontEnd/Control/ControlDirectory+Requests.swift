import FileSystem
import Glibc
import SystemPackage

/// Requests of the kernel for nodes of the control directory, and what each is answered with.
extension ControlDirectory {
  /// Whether a request is one for this directory: by its node, or by the name of the directory in the root.
  @inline(__always)
  static func owns(_ request: NodeRequest) -> Bool {
    if case .lookup(FileSystem.root, let name) = request { return name.elementsEqual(Self.name) }
    return owns(request.node)
  }

  func answer(_ request: NodeRequest) -> ControlAnswer {
    switch request {
    case .lookup(let parent, let name):
      lookUp(name, in: parent).map { .entry(attributes(of: $0)) } ?? .failed(.noSuchFileOrDirectory)
    case .getattr(let node): .attributes(attributes(of: node))
    case .setattr(let node, let changesRights): setAttributes(node, changesRights: changesRights)
    case .access, .releasedir: .done
    case .getxattr, .listxattr: .failed(.notSupported)
    case .opendir: .openedDirectory
    case .readdir(_, _, _, let offset, _): .entries(entries(), from: Int(clamping: max(0, offset)))
    case .open(let node, let flags): open(node, flags: flags)
    case .read(let node, let handle, let size, let offset):
      read(node, handle, at: Int(offset), count: size)
    case .create(_, let name): create(name)
    case .write(_, let handle, let bytes, let offset):
      write(handle, bytes, at: Int(offset)).map { .failed($0) } ?? .written(bytes.count)
    case .flush(let node, let handle): ControlReports.has(node) ? .done : .flush(handle)
    case .release(let node, let handle): release(node, handle)
    case .unlink(_, let name): unlink(name)
    }
  }

  /// An answer did not reach the kernel: what it would have had of it is given up.
  func takeBack(_ answer: ControlAnswer) {
    switch answer {
    case .entry(let node): forget(node.number, count: 1)
    case .opened(let handle): close(handle)
    case .created(let node, let handle):
      close(handle)
      forget(node.number, count: 1)
    default: break
    }
  }

  func attributes(of node: NodeID) -> ControlNode {
    let mode: mode_t =
      if node == Self.firstNode { S_IFDIR | 0o755 } else {
        S_IFREG | (ControlReports.has(node) ? 0o444 : 0o644)
      }
    return ControlNode(
      number: node, mode: mode, nameTimeout: node <= ControlReports.lastNode ? 3600 : 0)
  }

  /// Truncating is what opening for writing does first; times may be set to no effect.
  private func setAttributes(_ node: NodeID, changesRights: Bool) -> ControlAnswer {
    if ControlReports.has(node) { return .failed(.permissionDenied) }
    return changesRights ? .failed(.notPermitted) : .attributes(attributes(of: node))
  }

  private func entries() -> [ControlEntry] {
    let all = [(".", Self.firstNode), ("..", FileSystem.root)] + names
    return all.map { ControlEntry(name: $0.0, node: attributes(of: $0.1)) }
  }

  private func open(_ node: NodeID, flags: CInt) -> ControlAnswer {
    if let report = ControlReports.report(node) {
      guard reports != nil else { return .failed(.staleNFSFileHandle) }
      return flags & O_ACCMODE == O_RDONLY ? .openReport(report) : .failed(.permissionDenied)
    }
    if node == Self.firstNode { return .failed(.isDirectory) }
    return open(node).map { .opened($0) } ?? .failed(.staleNFSFileHandle)
  }

  /// An order gives nothing back.
  private func read(_ node: NodeID, _ handle: UInt64, at offset: Int, count: Int) -> ControlAnswer {
    guard ControlReports.has(node) else { return .bytes([]) }
    return reports?.read(handle, at: offset, count: count).map { .bytes($0) }
      ?? .failed(.badFileDescriptor)
  }

  private func create(_ name: UnsafeRawBufferPointer) -> ControlAnswer {
    guard let order = order(of: name) else { return .failed(.notPermitted) }
    let node = create(order)
    guard let handle = open(node) else { return .failed(.staleNFSFileHandle) }
    return .created(attributes(of: node), handle)
  }

  private func release(_ node: NodeID, _ handle: UInt64) -> ControlAnswer {
    if ControlReports.has(node) { reports?.close(handle) } else { close(handle) }
    return .done
  }

  private func unlink(_ name: UnsafeRawBufferPointer) -> ControlAnswer {
    if reports != nil, ControlReports.report(named: name) != nil { return .failed(.notPermitted) }
    guard let order = order(of: name), remove(order) else {
      return .failed(.noSuchFileOrDirectory)
    }
    return .done
  }
}

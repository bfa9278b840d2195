import CFuseShim
import FileSystem
import Glibc
import Posix
import SystemPackage

/// Directory entries in the kernel's format, in a buffer of the size the kernel asked for.
struct EntryPacker: ~Copyable {
  private let buffer: UnsafeMutableRawBufferPointer
  private var used = 0
  let plus: Bool

  init(size: Int, plus: Bool) {
    buffer = .allocate(byteCount: size, alignment: 8)
    self.plus = plus
  }

  deinit { buffer.deallocate() }

  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: buffer[..<used]) }

  /// Of `entry`, READDIR has st_ino and the type; READDIRPLUS all. With node 0 the kernel looks the name up when it
  /// needs it. `next`: the cookie of the entry after this one.
  ///
  /// False: it does not fit, and nothing was added.
  mutating func add(
    _ name: UnsafeRawBufferPointer, _ entry: inout fuse_entry_param, next: off_t
  ) -> Bool {
    // libfuse wants a C string; the name is bytes of a listing.
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: name.count + 1) { text in
      UnsafeMutableRawBufferPointer(text).copyMemory(from: name)
      text[name.count] = 0
      let place = buffer.baseAddress?.advanced(by: used).assumingMemoryBound(to: CChar.self)
      let available = buffer.count - used
      let needed =
        plus
        ? fuse_add_direntry_plus(nil, place, available, text.baseAddress, &entry, next)
        : fuse_add_direntry(nil, place, available, text.baseAddress, &entry.attr, next)
      guard needed <= available else { return false }
      used += needed
      return true
    }
  }

  /// The same for an entry of the file system.
  mutating func add(_ entry: FolderEntry, _ mapper: AttributeMapper) -> Bool {
    var parameters = fuse_entry_param()
    if plus, let attributes = entry.attributes {
      parameters = mapper.entry(attributes)
    } else {
      parameters.attr.st_ino = ino_t(entry.inode)
      parameters.attr.st_mode = mapper.mode(of: entry.kind)
    }
    return add(entry.name, &parameters, next: off_t(truncatingIfNeeded: entry.nextCookie))
  }
}

/// One READDIR or READDIRPLUS that is being filled. References that its entries took are given
/// back if the kernel does not get them.
///
/// Unchecked: the file system calls `add` and `finish` one after another.
final class DirectoryReply: @unchecked Sendable {
  private let request: ParkedRequest
  private let nodes: DataNodes
  private var packer: EntryPacker
  /// Nodes of entries in the reply, each with a reference.
  private var references: [NodeID] = []
  /// Nodes of entries that were left out.
  private var hidden: [NodeID] = []

  init(_ request: ParkedRequest, _ nodes: DataNodes, size: Int, plus: Bool) {
    self.request = request
    self.nodes = nodes
    packer = EntryPacker(size: size, plus: plus)
  }

  func add(_ entry: FolderEntry) -> Bool {
    guard entry.name.count <= RequestTable.nameLimit else {
      if let node = entry.attributes?.node { hidden.append(node) }
      return true
    }
    guard packer.add(entry, nodes.mapper) else { return false }
    if let node = entry.attributes?.node { references.append(node) }
    return true
  }

  func finish(_ result: Result<Void, Errno>) {
    release(&hidden)
    switch result {
    case .success:
      let bytes = packer.bytes
      let isTaken = request.answer {
        fuse_reply_buf($0, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
      }
      if !isTaken { release(&references) }
    case .failure(let error):
      release(&references)
      request.fail(error, during: .readdir)
    }
  }

  private func release(_ references: inout [NodeID]) {
    for node in references { nodes.fileSystem.forget(node, count: 1) }
    references = []
  }
}

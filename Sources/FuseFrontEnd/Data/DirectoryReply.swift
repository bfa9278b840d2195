import CFuseShim
import FileSystem
import Glibc
import Posix
import SystemPackage

/// Folder entries in the kernel's format, in a buffer of the size the kernel asked for.
struct EntryPacker: ~Copyable {
  private let buffer: UnsafeMutableRawBufferPointer
  private var used = 0
  private let view: AttributeMapper
  private let plus: Bool

  init(size: Int, plus: Bool, view: AttributeMapper) {
    buffer = .allocate(byteCount: size, alignment: 8)
    self.plus = plus
    self.view = view
  }

  deinit { buffer.deallocate() }

  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: buffer[..<used]) }

  /// False: it does not fit, and nothing was taken.
  mutating func add(_ entry: FolderEntry) -> Bool {
    // libfuse wants a C string; the name is bytes of a listing.
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: entry.name.count + 1) { name in
      UnsafeMutableRawBufferPointer(name).copyMemory(from: entry.name)
      name[entry.name.count] = 0
      let place = buffer.baseAddress?.advanced(by: used).assumingMemoryBound(to: CChar.self)
      let room = buffer.count - used
      let needed = plus ? packPlus(entry, name, place, room) : pack(entry, name, place, room)
      guard needed <= room else { return false }
      used += needed
      return true
    }
  }

  private func pack(
    _ entry: FolderEntry, _ name: UnsafeMutableBufferPointer<CChar>,
    _ place: UnsafeMutablePointer<CChar>?, _ room: Int
  ) -> Int {
    var status = stat()
    status.st_ino = ino_t(entry.inode)
    status.st_mode = view.mode(of: entry.kind)
    return fuse_add_direntry(
      nil, place, room, name.baseAddress, &status, off_t(truncatingIfNeeded: entry.nextCookie))
  }

  /// An entry without attributes has node 0: the kernel then looks the name up when it needs it.
  private func packPlus(
    _ entry: FolderEntry, _ name: UnsafeMutableBufferPointer<CChar>,
    _ place: UnsafeMutablePointer<CChar>?, _ room: Int
  ) -> Int {
    var parameters = fuse_entry_param()
    if let attributes = entry.attributes {
      parameters = view.entry(attributes)
    } else {
      parameters.attr.st_ino = ino_t(entry.inode)
      parameters.attr.st_mode = view.mode(of: entry.kind)
    }
    return fuse_add_direntry_plus(
      nil, place, room, name.baseAddress, &parameters, off_t(truncatingIfNeeded: entry.nextCookie))
  }
}

/// One READDIR or READDIRPLUS that is being filled. References that its entries took are given
/// back if the kernel does not get them.
///
/// Unchecked: the file system calls `add` and `finish` one after another.
final class DirectoryReply: @unchecked Sendable {
  /// NAME_MAX: a longer name could be seen but not looked up.
  static let nameLimit = 255

  private let request: ParkedRequest
  private var packer: EntryPacker
  /// Nodes of entries in the reply, each with a reference.
  private var references: [NodeID] = []
  /// Nodes of entries that were left out.
  private var hidden: [NodeID] = []

  init(_ request: ParkedRequest, size: Int, plus: Bool) {
    self.request = request
    packer = EntryPacker(size: size, plus: plus, view: request.connection.view)
  }

  func add(_ entry: FolderEntry) -> Bool {
    guard entry.name.count <= DirectoryReply.nameLimit else {
      if let node = entry.attributes?.node { hidden.append(node) }
      return true
    }
    guard packer.add(entry) else { return false }
    if let node = entry.attributes?.node { references.append(node) }
    return true
  }

  func finish(_ result: Result<Void, Errno>) {
    giveBack(&hidden)
    switch result {
    case .success:
      let bytes = packer.bytes
      let isTaken = request.answer {
        fuse_reply_buf($0, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
      }
      if !isTaken { giveBack(&references) }
    case .failure(let error):
      giveBack(&references)
      request.fail(error, during: .readdir)
    }
  }

  private func giveBack(_ nodes: inout [NodeID]) {
    for node in nodes { request.connection.fileSystem.forget(node, count: 1) }
    nodes = []
  }
}

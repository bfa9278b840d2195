import ObjectStore
public import Posix
import Synchronization
import SystemPackage

/// A directory held open, with the listing that was its newest then.
public final class OpenFolder: Sendable {
  /// Enough for a reply of the kernel's usual 4 KiB, and what may be copied in vain.
  private static let batch = 128
  /// Less with attributes: what does not fit gives back a node each.
  private static let batchWithNodes = 32

  /// Which entries carry a node and attributes.
  public enum Attributes: Sendable {
    case none, folders, all
  }

  private let listing: DirectoryListing
  private let paths: MountPaths
  private let lookup: LookupService
  private let lister: DirectoryLister
  private let isClosed = Atomic(false)

  /// When a listing first had these names: the kernel's copy of them is good as long as it stays.
  public var unchangedSince: Instant { listing.unchangedSince }

  /// Its entries, once all are known.
  public var count: Int? { listing.isComplete ? listing.count : nil }

  /// `listing`: pinned by the caller, given back by `close`.
  init(
    _ listing: DirectoryListing, paths: MountPaths, lookup: LookupService, lister: DirectoryLister
  ) {
    self.listing = listing
    self.paths = paths
    self.lookup = lookup
    self.lister = lister
  }

  deinit { close() }

  /// Entries from `cookie` on (0: the first, "." and ".." included), in a stable order.
  ///
  /// `add` is called for each; it returns false when the reply is full, and that entry is then not taken. The cookie
  /// given with an entry is where the next one starts. Attributes carry a node on which a reference was taken for each
  /// entry that was added with them (never "." and ".."). `done` follows, after the listing's next page had to be
  /// waited for if nothing else was there; an end without entries is the end of the folder.
  public func read(
    from cookie: UInt64, attributes: Attributes, add: @escaping @Sendable (FolderEntry) -> Bool,
    done: @escaping Reply<Void>
  ) {
    let start = cookie
    var cookie = start
    while cookie < 2 {
      if !addDots(cookie, add) { return done(.success(())) }
      cookie += 1
      if cookie == 2 && !listing.hasPages { return done(.success(())) }
    }
    // Cookies come from programs (seekdir): any number must do.
    readEntries(
      from: Int(clamping: min(cookie - 2, 1 << 40)), attributes: attributes, added: start < 2,
      add: add,
      done: done)
  }

  private func readEntries(
    from start: Int, attributes: Attributes, added: Bool,
    add: @escaping @Sendable (FolderEntry) -> Bool,
    done: @escaping Reply<Void>
  ) {
    var index = start
    var added = added
    while true {
      switch listing.step(
        from: index, limit: attributes == .all ? Self.batchWithNodes : Self.batch)
      {
      case .entries(let slice):
        let taken = hand(slice, from: index, attributes, to: add)
        index += taken
        added = added || taken > 0
        if taken < slice.entries.count { return done(.success(())) }
      case .complete: return done(.success(()))
      case .failed(let error): return done(added ? .success(()) : .failure(error.errno))
      case .wait:
        if added { return done(.success(())) }
        let index = index
        return listing.wait(beyond: index) { [self] in
          readEntries(from: index, attributes: attributes, added: false, add: add, done: done)
        }
      }
    }
  }

  /// Hands entries over until the reply is full. Returns how many it took.
  private func hand(
    _ slice: DirectoryListing.Slice, from index: Int, _ attributes: Attributes,
    to add: (FolderEntry) -> Bool
  ) -> Int {
    let isWanted: (DirentBlock.Entry) -> Bool =
      attributes == .all ? { _ in true } : { $0.flags.contains(.folder) }
    let nodes: [NodeAttributes?] =
      attributes == .none || !slice.entries.contains(where: isWanted)
      ? [] : lookup.retain(slice, of: listing, from: index, where: isWanted)
    var taken = 0
    for (offset, entry) in slice.entries.enumerated() {
      let name = slice.block.name(entry)
      let isAdded = add(
        FolderEntry(
          name: name, inode: listing.pathHash.inode(of: name),
          kind: entry.flags.contains(.folder) ? .folder : .file,
          nextCookie: UInt64(index + offset + 3), attributes: nodes.isEmpty ? nil : nodes[offset]))
      if !isAdded { break }
      taken += 1
    }
    for case let unused? in nodes.dropFirst(taken) { lookup.release(unused.node, count: 1) }
    return taken
  }

  private func addDots(_ cookie: UInt64, _ add: (FolderEntry) -> Bool) -> Bool {
    let name: [UInt8] = Array(repeating: UInt8(ascii: "."), count: cookie == 0 ? 1 : 2)
    let path = cookie == 0 ? listing.directory : paths.parent(of: listing.directory)
    return name.withUnsafeBytes {
      add(
        FolderEntry(
          name: $0, inode: paths.inode(of: path), kind: .folder, nextCookie: cookie + 1,
          attributes: nil))
    }
  }

  /// Gives the listing back. Further calls do nothing.
  public func close() {
    if !isClosed.exchange(true, ordering: .relaxed) { lister.close(listing) }
  }
}

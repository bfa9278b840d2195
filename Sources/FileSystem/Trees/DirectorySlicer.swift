import ObjectStore
import Posix
import SystemPackage

/// Gives the content of directories in slices, with sizes that their listings do not have.
final class DirectorySlicer: Sendable {
  private let context: MountContext
  private let lister: DirectoryLister
  private let lookup: LookupService

  init(_ context: MountContext, lister: DirectoryLister, lookup: LookupService) {
    self.context = context
    self.lister = lister
    self.lookup = lookup
  }

  /// See `FileSystem.slice`. `sizes`: sizes that the listing does not have are requested until this is set; nil: they
  /// are not.
  func slice(
    of directory: ObjectKey, from index: Int, limit: Int, sizes stop: StopFlag?,
    reply: @escaping Reply<FolderSlice>
  ) {
    guard let listing = lister.listing(of: directory) else { return reply(.failure(.ioError)) }
    slice(listing, from: index, limit: limit, stop, reply)
  }

  private func slice(
    _ listing: DirectoryListing, from index: Int, limit: Int, _ stop: StopFlag?,
    _ reply: @escaping Reply<FolderSlice>
  ) {
    switch listing.step(from: index, limit: limit) {
    case .entries(let found): complete(found, of: listing.directory, from: index, stop, reply)
    case .complete:
      var slice = FolderSlice()
      slice.next = index
      slice.isLast = true
      reply(.success(slice))
    case .failed(let error): reply(.failure(error.errno))
    case .wait:
      listing.wait(beyond: index) { [self] in
        slice(listing, from: index, limit: limit, stop, reply)
      }
    }
  }

  private func complete(
    _ found: DirectoryListing.Slice, of directory: ObjectKey, from index: Int, _ stop: StopFlag?,
    _ reply: @escaping Reply<FolderSlice>
  ) {
    var slice = FolderSlice()
    slice.next = index + found.entries.count
    var files: [(name: [UInt8], seen: Observation)] = []
    var unsized: [Int] = []
    for entry in found.entries {
      let name = Array(found.block.name(entry))
      let seen = found.block.seen(entry)
      if seen.kind == .folder {
        slice.folders.append(directory + name + [NameRules.slash])
      } else if !seen.isArchived {
        if seen.size == nil { unsized.append(files.count) }
        files.append((name, seen))
      }
    }
    guard let stop, !unsized.isEmpty else {
      slice.unsized = unsized.count
      slice.add(files, of: directory)
      return reply(.success(slice))
    }
    let (listed, missing, begun) = (files, unsized, slice)
    SizeQuery(
      context, lookup: lookup, directory: directory, names: unsized.map { files[$0].name },
      stop: stop
    ) { [context] answers in
      var (files, slice) = (listed, begun)
      for (index, answer) in zip(missing, answers) {
        switch answer {
        case .success(let seen): files[index].seen = seen
        case .failure(let error):
          slice.failures.append((directory + files[index].name, error))
          _ = context.report(error, during: "size")
        }
      }
      slice.add(files, of: directory)
      reply(.success(slice))
    }.start()
  }
}

extension FolderSlice {
  /// Those whose size is known.
  fileprivate mutating func add(
    _ found: [(name: [UInt8], seen: Observation)], of directory: ObjectKey
  ) {
    for (name, seen) in found where seen.kind == .file && seen.size != nil {
      files.append(seen.version(of: directory + name))
    }
  }
}

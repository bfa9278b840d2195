import CFuseShim
import FileSystem
import Glibc
import Metrics
import ObjectStore
import Posix
import ReadEngine
import SystemPackage

/// Open files.
extension DataNodes {
  func open(_ request: fuse_req_t, _ session: FuseSession, _ node: NodeID, flags: CInt) {
    guard flags & O_ACCMODE == O_RDONLY, flags & O_TRUNC == 0 else {
      _ = fuse_reply_err(request, EROFS)
      return
    }
    metrics.opens.add()
    let label = session.trace("open", node)
    let parked = ParkedRequest(request, session, label: label)
    fileSystem.open(node) { [self] result in
      switch result {
      case .success(let file): opened(file, parked)
      case .failure(let error): parked.fail(error, during: .open)
      }
    }
    parked.watch()
  }

  private func opened(_ file: OpenFile, _ parked: ParkedRequest) {
    let account = parked.session.processes.account(ofThread: parked.caller)
    account.opens.add()
    let open = FileHandle(file, account)
    let handle = handles.add(open)
    var backingID: Int32 = 0
    // An opener that was killed meanwhile has been answered: its inode then keeps the mode that it has.
    let isAnswered = parked.answer { request in
      // Before the reply: the release may come on another thread as soon as the kernel has it.
      if let claim = passthrough?.open(file, request) {
        open.hold(claim)
        backingID = claim.backingID
      }
      return backingID > 0
        ? millrace_reply_passed_through(request, handle, backingID)
        : Self.replyCached(request, handle, keepsPages: file.keepsPageCache)
    }
    if isAnswered, backingID > 0 {
      metrics.passthroughOpens.add()
      metrics.passthroughBytes.add(file.object.version.size)
      account.passthroughBytes.add(file.object.version.size)
    }
    if !isAnswered { handles.closeFile(handle) }
  }

  private static func replyCached(
    _ request: fuse_req_t, _ handle: UInt64, keepsPages: Bool
  ) -> CInt {
    var info = fuse_file_info()
    info.fh = handle
    info.keep_cache = keepsPages ? 1 : 0
    info.noflush = 1
    return fuse_reply_open(request, &info)
  }

  /// The hit path: what is in memory or on disk is answered before this returns, without an
  /// allocation of ours and without counting references.
  func read(
    _ request: fuse_req_t, _ session: FuseSession, _ handle: UInt64, size: Int, offset: Int64
  ) {
    metrics.reads.add()
    guard let scratch = Scratch.ofThisThread(), size <= scratch.count else {
      session.errors.record(.ioError, during: .read)
      _ = fuse_reply_err(request, EIO)
      return
    }
    OpenHandles.withFile(handle) { open in
      let label = session.trace("read", open.file.node) {
        "offset=\(offset) size=\(size) key=\(open.file.object.version.key)"
      }
      let began = label == nil ? nil : Instant.now
      open.file.object.read(
        at: UInt64(clamping: offset), count: size, scratch: scratch,
        reply: {
          Self.count($0, scratch, open.account)
          if let label, let began { session.traceResult(label, $0.error, after: .now - began) }
          _ = session.send($0, to: request)
        },
        park: {
          let parked = ParkedRequest(
            request, session, account: open.account, label: label)
          parked.watch()
          return parked
        })
    }
  }

  /// A read that was answered at once: from blocks of memory, or by way of `scratch` from disk.
  @inline(__always)
  private static func count(
    _ reply: ReadReply, _ scratch: UnsafeMutableRawBufferPointer, _ account: CallerAccount
  ) {
    guard case .data(let parts) = reply else { return }
    var bytes = 0
    for part in parts { bytes += part.iov_len }
    account.hit(bytes, isFromDisk: parts.first?.iov_base == scratch.baseAddress)
  }

  func release(_ request: fuse_req_t, _ session: FuseSession, _ node: NodeID, _ handle: UInt64) {
    session.trace("release", node)
    handles.closeFile(handle)
    _ = fuse_reply_err(request, 0)
  }
}

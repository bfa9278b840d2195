import CFuseShim
import FileSystem
import Glibc
import Metrics
import ObjectStore
import Posix
import ReadEngine
import SystemPackage

extension FuseSession {
  func open(_ request: fuse_req_t, _ node: NodeID, flags: CInt) {
    guard flags & O_ACCMODE == O_RDONLY, flags & O_TRUNC == 0 else {
      _ = fuse_reply_err(request, EROFS)
      return
    }
    metrics.opens.add()
    let label = trace("open", node)
    let parked = ParkedRequest(request, self, label: label)
    fileSystem.open(node) { result in
      switch result {
      case .success(let file): parked.opened(file)
      case .failure(let error): parked.fail(error, during: .open)
      }
    }
    parked.watch()
  }

  /// The hit path: what is in memory or on disk is answered before this returns, without an
  /// allocation of ours and without counting references.
  func read(_ request: fuse_req_t, _ handle: UInt64, size: Int, offset: off_t) {
    metrics.reads.add()
    guard let scratch = Scratch.ofThisThread(), size <= scratch.count else {
      failures.note(.ioError, during: .read)
      _ = fuse_reply_err(request, EIO)
      return
    }
    OpenHandles.withFile(handle) { open in
      let label = trace("read", open.file.node) {
        "offset=\(offset) size=\(size) key=\(open.file.object.version.key)"
      }
      let began = label == nil ? nil : Instant.now
      open.file.object.read(
        at: UInt64(clamping: offset), count: size, scratch: scratch,
        reply: {
          note($0, scratch, open.account)
          if let label, let began { traceResult(label, $0.error, after: .now - began) }
          _ = send($0, to: request)
        },
        park: {
          let parked = ParkedRequest(
            request, self, account: open.account, label: label)
          parked.watch()
          return parked
        })
    }
  }

  /// A read that was answered at once: from blocks of memory, or by way of `scratch` from disk.
  @inline(__always)
  private func note(
    _ reply: ReadReply, _ scratch: UnsafeMutableRawBufferPointer, _ account: CallerAccount
  ) {
    guard case .data(let parts) = reply else { return }
    var bytes = 0
    for part in parts { bytes += part.iov_len }
    account.hit(bytes, isFromDisk: parts.first?.iov_base == scratch.baseAddress)
  }

  func release(_ request: fuse_req_t, _ handle: UInt64) {
    handles.closeFile(handle)
    _ = fuse_reply_err(request, 0)
  }
}

extension ParkedRequest {
  fileprivate func opened(_ file: OpenFile) {
    let account = connection.accounts.account(ofThread: caller)
    account.opens.add()
    let open = FileHandle(file, account)
    let handle = connection.handles.add(open)
    var backingID: Int32 = 0
    // An opener that was killed meanwhile has been answered: its inode then keeps the mode that it has.
    let isAnswered = answer { request in
      // Before the reply: the release may come on another thread as soon as the kernel has it.
      if let claim = connection.passthrough?.open(file, request) {
        open.hold(claim)
        backingID = claim.backingID
      }
      return backingID > 0
        ? millrace_reply_passed_through(request, handle, backingID)
        : replyCached(request, handle, keepsPages: file.keepsPageCache)
    }
    if isAnswered, backingID > 0 {
      connection.metrics.passthroughOpens.add()
      connection.metrics.passthroughBytes.add(file.object.version.size)
      account.passthroughBytes.add(file.object.version.size)
    }
    if !isAnswered { connection.handles.closeFile(handle) }
  }

  private func replyCached(_ request: fuse_req_t, _ handle: UInt64, keepsPages: Bool) -> CInt {
    var info = fuse_file_info()
    info.fh = handle
    info.keep_cache = keepsPages ? 1 : 0
    info.noflush = 1
    return fuse_reply_open(request, &info)
  }
}

import CFuseShim
import FileSystem
import Glibc
import Metrics
import ObjectStore
import Posix
import ReadEngine
import SystemPackage

extension Session {
  func open(_ request: fuse_req_t, _ node: NodeID, flags: CInt) {
    guard flags & O_ACCMODE == O_RDONLY, flags & O_TRUNC == 0 else {
      _ = fuse_reply_err(request, EROFS)
      return
    }
    metrics.opens.add()
    let parked = ParkedRequest(request, self)
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
    OpenHandles.withFile(handle) { file in
      file.object.read(
        at: UInt64(offset), count: size, scratch: scratch,
        reply: { _ = send($0, to: request) },
        park: {
          let parked = ParkedRequest(request, self)
          parked.watch()
          return parked
        })
    }
  }

  func release(_ request: fuse_req_t, _ handle: UInt64) {
    closeFile(handle)
    _ = fuse_reply_err(request, 0)
  }

  fileprivate func closeFile(_ handle: UInt64) {
    guard let node = handles.closeFile(handle) else { return }
    passthrough?.release(node)
  }
}

extension ParkedRequest {
  fileprivate func opened(_ file: OpenFile) {
    let handle = connection.handles.add(file)
    var backingID: Int32 = 0
    let isAnswered = answer { request in
      backingID = connection.passthrough?.open(file, request) ?? 0
      return backingID > 0
        ? millrace_reply_passed_through(request, handle, backingID)
        : replyCached(request, handle, keepsPages: file.keepsPageCache)
    }
    if isAnswered, backingID > 0 {
      connection.metrics.passthroughOpens.add()
      connection.metrics.passthroughBytes.add(file.object.version.size)
    }
    if !isAnswered { connection.closeFile(handle) }
  }

  private func replyCached(_ request: fuse_req_t, _ handle: UInt64, keepsPages: Bool) -> CInt {
    var info = fuse_file_info()
    info.fh = handle
    info.keep_cache = keepsPages ? 1 : 0
    info.noflush = 1
    return fuse_reply_open(request, &info)
  }
}

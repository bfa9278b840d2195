/// Asks the kernel for passthrough: by libfuse's own interface where it has one (from 3.17 on), else
/// on behalf of a libfuse that does not know it.
///
/// An older libfuse lets its reads and writes of the device be replaced. In INIT's request the kernel says
/// whether it can (bit 37 of the flags); in the first reply, which is INIT's, the wish is added to
/// what libfuse wrote. Nothing else is touched. Layouts: struct fuse_init_in and fuse_init_out of
/// linux/fuse.h, protocol 7.40.
import CFuseShim
import Glibc
import Posix
import Synchronization

enum PassthroughNegotiation {
  /// What INIT brought, written by the one thread that reads it.
  final class Outcome: Sendable {
    /// The backing file system may itself be stacked this deep; 0: do not ask.
    let stackDepth: UInt32
    let isOffered = Atomic(false)
    let isAskedFor = Atomic(false)
    let isOver = Atomic(false)
    init(stackDepth: UInt32) { self.stackDepth = stackDepth }

    /// Within INIT. Does nothing with a libfuse before 3.17: what is hooked does it.
    func request(_ connection: inout fuse_conn_info) {
      guard millrace_knows_passthrough() else { return }
      isOver.store(true, ordering: .relaxed)
      guard stackDepth > 0 else { return }
      let isAsked = millrace_want_passthrough(&connection, stackDepth)
      isOffered.store(isAsked, ordering: .relaxed)
      isAskedFor.store(isAsked, ordering: .relaxed)
    }

    /// Why there is no passthrough, after INIT; nil: there is, as far as INIT can tell. `isHooked`: what `install`
    /// returned.
    func reasonUnavailable(isHooked: Bool) -> String? {
      if stackDepth == 0 { return "not requested" }
      if !isHooked { return "not supported by this libfuse" }
      if !isOffered.load(ordering: .relaxed) { return "needs Linux 6.9 or later" }
      return isAskedFor.load(ordering: .relaxed) ? nil : "not supported by this libfuse"
    }
  }

  private static let initOpcode: UInt32 = 26
  private static let requestHeader = 40
  private static let passthroughBit: UInt32 = 1 << 5  // 37 of flags | flags2 << 32
  private static let extendedFlags: UInt32 = 1 << 30  // FUSE_INIT_EXT: flags2 counts

  /// Between mounting and the first request. False: passthrough cannot be requested with this libfuse.
  static func install(on session: OpaquePointer) -> Bool {
    if millrace_knows_passthrough() { return true }
    var io = fuse_custom_io()
    io.read = { device, buffer, length, userdata in
      let count = read(device, buffer, length)
      if count > 0, let outcome = PassthroughNegotiation.pending(userdata) {
        PassthroughNegotiation.inspect(UnsafeRawBufferPointer(start: buffer, count: count), outcome)
      }
      return count
    }
    io.writev = { device, vectors, count, userdata in
      if let outcome = PassthroughNegotiation.pending(userdata) {
        PassthroughNegotiation.patch(
          UnsafeMutableBufferPointer(start: vectors, count: Int(count)), outcome)
      }
      return writev(device, vectors, count)
    }
    return fuse_session_custom_io(session, &io, fuse_session_fd(session)) == 0
  }

  private static func pending(_ userdata: UnsafeMutableRawPointer?) -> Outcome? {
    guard let userdata else { return nil }
    return Unmanaged<FuseSession>.fromOpaque(userdata)._withUnsafeGuaranteedRef { session in
      let outcome = session.passthroughNegotiation
      return outcome.isOver.load(ordering: .relaxed) ? nil : outcome
    }
  }

  static func inspect(_ request: UnsafeRawBufferPointer, _ outcome: Outcome) {
    guard request.count >= requestHeader + 20,
      request.loadUnaligned(fromByteOffset: 4, as: UInt32.self) == initOpcode
    else { return }
    let flags2 = request.loadUnaligned(fromByteOffset: requestHeader + 16, as: UInt32.self)
    outcome.isOffered.store(flags2 & passthroughBit != 0, ordering: .relaxed)
  }

  static func patch(_ reply: UnsafeMutableBufferPointer<iovec>, _ outcome: Outcome) {
    outcome.isOver.store(true, ordering: .relaxed)
    guard outcome.stackDepth > 0, outcome.isOffered.load(ordering: .relaxed), reply.count == 2,
      let body = reply[1].iov_base, reply[1].iov_len == 64
    else { return }
    func edit(_ offset: Int, _ change: (UInt32) -> UInt32) {
      let value = body.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
      body.storeBytes(of: change(value), toByteOffset: offset, as: UInt32.self)
    }
    edit(12) { $0 | extendedFlags }
    edit(32) { $0 | passthroughBit }
    edit(36) { _ in outcome.stackDepth }
    outcome.isAskedFor.store(true, ordering: .relaxed)
  }
}

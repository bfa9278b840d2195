import CCurlShim
import Glibc
import Posix
import SystemPackage

/// libcurl's multi handle over epoll: waits for sockets, for libcurl's timer and for `wake()`.
/// All but `wake()` belongs to the transport's thread.
final class CurlMulti {
  private var multi: UnsafeMutableRawPointer
  private let epoll: CInt
  private let wakeUp: WakeUp
  private let maxConnections: Int
  private var curlDeadline: Instant?
  private var events = [epoll_event](repeating: epoll_event(), count: 64)

  /// Throws where the machine gives no descriptor or no memory.
  init(wakeUp: WakeUp, maxConnections: Int) throws(Errno) {
    let epoll = epoll_create1(CInt(EPOLL_CLOEXEC))
    guard epoll >= 0 else { throw Errno.last }
    // Without this one no other thread could ever wake the loop.
    var event = epoll_event(
      events: EPOLLIN.rawValue, data: epoll_data_t(fd: wakeUp.descriptor))
    guard epoll_ctl(epoll, EPOLL_CTL_ADD, wakeUp.descriptor, &event) == 0 else {
      let reason = Errno.last
      close(epoll)
      throw reason
    }
    guard let multi = curl_multi_init() else {
      close(epoll)
      throw .noMemory
    }
    self.epoll = epoll
    self.multi = multi
    self.wakeUp = wakeUp
    self.maxConnections = maxConnections
    configure()
  }

  /// Every transfer must have been removed.
  deinit {
    curl_multi_cleanup(multi)
    close(epoll)
  }

  func add(_ transfer: Transfer) { curl_multi_add_handle(multi, transfer.raw) }

  /// Ends a transfer that is not complete by closing its connection.
  func remove(_ transfer: Transfer) { curl_multi_remove_handle(multi, transfer.raw) }

  /// Closes all connections. libcurl has no call for that: so begin anew. Nothing may be running.
  func closeIdleConnections() {
    guard let fresh = curl_multi_init() else { return }
    curl_multi_cleanup(multi)
    curlDeadline = nil
    multi = fresh
    configure()
  }

  /// Waits until something happens or `instant` has come, and lets libcurl act on it.
  func run(until instant: Instant) {
    let timeout = milliseconds(until: min(instant, curlDeadline ?? .distantFuture))
    let count = epoll_wait(epoll, &events, CInt(events.count), timeout)
    var running: CInt = 0
    for index in 0..<max(0, Int(count)) {
      let event = events[index]
      if event.data.fd == wakeUp.descriptor {
        wakeUp.clear()
      } else {
        curl_multi_socket_action(multi, event.data.fd, Self.mask(event.events), &running)
      }
    }
    if let due = curlDeadline, due <= .now {
      curlDeadline = nil
      curl_multi_socket_action(multi, -1, 0, &running)
    }
  }

  /// A transfer that libcurl has ended; still to be removed.
  func nextCompleted() -> (Transfer, CURLcode)? {
    var left: CInt = 0
    while let message = curl_multi_info_read(multi, &left) {
      guard message.pointee.msg == CURLMSG_DONE, let easy = message.pointee.easy_handle,
        let transfer = Transfer.of(easy)
      else { continue }
      return (transfer, message.pointee.data.result)
    }
    return nil
  }

  private func configure() {
    let context = Unmanaged.passUnretained(self).toOpaque()
    _ = millrace_multi_set_callbacks(multi, curlSocketChanged, curlTimerChanged, context)
    // Counts those in use too: with fewer, connections would be closed only to be opened again.
    _ = millrace_multi_set_long(multi, CURLMOPT_MAXCONNECTS, maxConnections)
    _ = millrace_multi_set_long(multi, CURLMOPT_PIPELINING, 0)
  }

  /// Rounded up: to wake a moment too early would be to spin until it has come.
  private func milliseconds(until instant: Instant) -> CInt {
    let now = Instant.now
    guard instant > now else { return 0 }
    return CInt(clamping: (instant.nanoseconds - now.nanoseconds + 999_999) / 1_000_000)
  }

  private static func mask(_ events: UInt32) -> CInt {
    var mask: CInt = 0
    if events & (EPOLLIN.rawValue | EPOLLHUP.rawValue) != 0 { mask |= CURL_CSELECT_IN }
    if events & EPOLLOUT.rawValue != 0 { mask |= CURL_CSELECT_OUT }
    if events & EPOLLERR.rawValue != 0 { mask |= CURL_CSELECT_ERR }
    return mask
  }

  // MARK: Calls from libcurl

  fileprivate func socketChanged(_ socket: CInt, _ what: CInt, isNew: Bool) {
    if what == CURL_POLL_REMOVE {
      // The socket may be closed already, which has taken it out.
      epoll_ctl(epoll, EPOLL_CTL_DEL, socket, nil)
      return
    }
    var interest: UInt32 = 0
    if what & CURL_POLL_IN != 0 { interest |= EPOLLIN.rawValue }
    if what & CURL_POLL_OUT != 0 { interest |= EPOLLOUT.rawValue }
    watch(socket, for: interest, isNew: isNew)
    // Any pointer: it tells the next call that epoll knows the socket.
    if isNew { curl_multi_assign(multi, socket, Unmanaged.passUnretained(self).toOpaque()) }
  }

  fileprivate func timerChanged(_ milliseconds: Int) {
    curlDeadline = milliseconds < 0 ? nil : .now + .milliseconds(milliseconds)
  }

  private func watch(_ descriptor: CInt, for interest: UInt32, isNew: Bool) {
    var event = epoll_event(events: interest, data: epoll_data_t(fd: descriptor))
    let first = isNew ? EPOLL_CTL_ADD : EPOLL_CTL_MOD
    guard epoll_ctl(epoll, first, descriptor, &event) != 0 else { return }
    // A descriptor's number can come back before libcurl says that the old one went.
    epoll_ctl(epoll, isNew ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, descriptor, &event)
  }
}

private func curlSocketChanged(
  easy: UnsafeMutableRawPointer?, socket: curl_socket_t, what: CInt,
  context: UnsafeMutableRawPointer?, known: UnsafeMutableRawPointer?
) -> CInt {
  let multi = Unmanaged<CurlMulti>.fromOpaque(context!).takeUnretainedValue()
  multi.socketChanged(socket, what, isNew: known == nil)
  return 0
}

private func curlTimerChanged(
  multi: UnsafeMutableRawPointer?, milliseconds: Int, context: UnsafeMutableRawPointer?
) -> CInt {
  Unmanaged<CurlMulti>.fromOpaque(context!).takeUnretainedValue().timerChanged(milliseconds)
  return 0
}

/// An eventfd that ends the wait of another thread.
final class WakeUp: Sendable {
  let descriptor: CInt

  init() throws(Errno) {
    descriptor = eventfd(0, CInt(EFD_CLOEXEC | EFD_NONBLOCK))
    guard descriptor >= 0 else { throw Errno.last }
  }

  deinit { close(descriptor) }

  func wake() { eventfd_write(descriptor, 1) }

  func clear() {
    var count: eventfd_t = 0
    eventfd_read(descriptor, &count)
  }
}

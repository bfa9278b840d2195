import CFuseShim
import Glibc
import Posix

/// INIT: what is requested of the kernel, and what it grants.
enum InitNegotiation {
  /// The largest request, bytes: 256 pages, as many as the kernel allows without a sysctl. libfuse
  /// derives the pages from max_write, for reads too.
  static let requestSize = 1 << 20
  /// Requests in the background (read-ahead, asynchronous direct I/O) at once. The default of 12
  /// would cap cold reading at 12 / latency.
  static let backgroundLimit: UInt32 = 128

  static let wanted: [Int] = [
    Int(FUSE_CAP_ASYNC_READ), Int(FUSE_CAP_PARALLEL_DIROPS), Int(FUSE_CAP_READDIRPLUS),
    Int(FUSE_CAP_ASYNC_DIO),
    // A node is one version and its pages never change; what must go is named by notification.
    Int(FUSE_CAP_EXPLICIT_INVAL_DATA),
  ]

  static let unwanted: [Int] = [
    // AUTO falls back to a lookup a name (measured: 100,000 of them).
    Int(FUSE_CAP_READDIRPLUS_AUTO), Int(FUSE_CAP_AUTO_INVAL_DATA), Int(FUSE_CAP_ATOMIC_O_TRUNC),
    Int(FUSE_CAP_EXPORT_SUPPORT), Int(FUSE_CAP_HANDLE_KILLPRIV), Int(FUSE_CAP_WRITEBACK_CACHE),
    // Measured: half the throughput of a copy at 1 MiB, because the pipe cannot grow.
    Int(FUSE_CAP_SPLICE_READ), Int(FUSE_CAP_SPLICE_WRITE), Int(FUSE_CAP_SPLICE_MOVE),
  ]

  static func choose(on connection: inout fuse_conn_info) {
    let wanted = wanted.reduce(0 as UInt32) { $0 | UInt32($1) }
    let unwanted = unwanted.reduce(0 as UInt32) { $0 | UInt32($1) }
    millrace_settle_capabilities(&connection, wanted, unwanted)
    connection.max_write = UInt32(requestSize)
    // The kernel takes the smaller of this and its own, which root raises in sysfs.
    connection.max_readahead = UInt32(requestSize)
    connection.max_background = backgroundLimit
    connection.congestion_threshold = backgroundLimit * 3 / 4
    connection.time_gran = 1_000_000_000
  }

  static func facts(of connection: inout fuse_conn_info) -> [String: String] {
    [
      "protocol": "\(connection.proto_major).\(connection.proto_minor)",
      "libfuse": FuseLibrary.version,
      "requestSize": "\(connection.max_write)",
      "maxBackground": "\(connection.max_background)",
      "readdirplus": millrace_is_wanted(&connection, UInt32(FUSE_CAP_READDIRPLUS)) ? "yes" : "no",
    ]
  }
}

extension FuseSession {
  /// Called by libfuse with what the kernel can.
  func negotiate(_ connection: inout fuse_conn_info) {
    InitNegotiation.choose(on: &connection)
    passthroughNegotiation.request(&connection)
    record(InitNegotiation.facts(of: &connection))
  }

  /// Reads INIT, which the kernel sends as the first request of a mount, and replies to it. So what was
  /// granted is known, and a kernel that refuses is reported, before the mount is announced.
  func receiveInit() throws(MountError) {
    var descriptor = pollfd(fd: device, events: Int16(POLLIN), revents: 0)
    var buffer = fuse_buf()
    defer { free(buffer.mem) }
    let (_, lines) = LibraryLog.capture {
      guard poll(&descriptor, 1, 5_000) == 1 else { return }
      guard fuse_session_receive_buf(raw, &buffer) > 0 else { return }
      fuse_session_process_buf(raw, &buffer)
    }
    if facts.isEmpty {
      throw MountError(
        "the kernel and libfuse did not agree on a FUSE connection"
          + (lines.isEmpty ? "" : ": " + lines.joined(separator: "; ")))
    }
  }
}

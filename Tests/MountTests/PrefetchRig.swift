import LinkServer
import Posix
import TestSupport

/// A mount of a bucket with one folder of small files, that lives as long as this does.
struct PrefetchRig {
  static let files = 300
  static let size = 20_000

  let mount: MountedMillrace
  let server: LinkServer
  let scratch: TemporaryFolder

  /// GETs for readers, without the one of the mount's own check: as many as the store saw, and as few as were needed. Between them lies what a busy machine made the
  /// daemon hedge or retry.
  func gets() throws -> ClosedRange<Int> {
    let seen = server.gets - MountedMillrace.checkGets
    return max(0, seen - (try mount.stats().sentTwice))...seen
  }

  init(_ options: [String], files: Int = Self.files, link: Link = .s3) throws {
    scratch = try TemporaryFolder("prefetch")
    for index in 0..<files {
      try scratch.file(
        "buckets/data/d/\(1000 + index).bin",
        [UInt8](repeating: UInt8(truncatingIfNeeded: index), count: Self.size))
    }
    server = try LinkServer(folder: scratch.path("buckets"), link: link)
    mount = try MountedMillrace(
      "s3://data", cache: scratch.folder("cache"),
      options: ["--endpoint-url", "http://127.0.0.1:\(server.port)", "--no-sign-request"] + options)
  }
}

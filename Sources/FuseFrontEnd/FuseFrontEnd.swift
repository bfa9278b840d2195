/// Requests of the kernel in, replies out: the one room that knows FUSE.
public import FileSystem
public import Logging
public import Metrics

/// How a file system is shown to the kernel and to users.
public struct MountOptions: Sendable {
  public var mountPoint: String
  /// Shown as the source of the mount in /proc/self/mountinfo and df.
  public var sourceName: String
  /// Users other than the one who mounts see the tree; permissions are then checked by the kernel.
  public var allowOther = false
  public var owner: UInt32
  public var group: UInt32
  public var fileMode: UInt32 = 0o444
  public var folderMode: UInt32 = 0o555
  public var threads = 2

  public init(mountPoint: String, sourceName: String, owner: UInt32, group: UInt32) {
    self.mountPoint = mountPoint
    self.sourceName = sourceName
    self.owner = owner
    self.group = group
  }
}

public final class FuseFrontEnd: Sendable {
  /// Mounts. When this returns, the mount point shows the file system (requests wait for `run`).
  public init(
    fileSystem: FileSystem, options: MountOptions, metrics: FrontMetrics, log: Logger
  ) throws(MountError) { fatalError("not built yet") }

  /// Serves until the file system is unmounted, by whomever; returns after the last reply.
  public func run() { fatalError("not built yet") }

  /// Unmounts (detached, if it is busy) so that `run` returns. Callable from any thread, once or more.
  public func unmount() {}

  /// What the kernel granted, for stats and logs: protocol version, request size, read-ahead.
  public var session: [String: String] { [:] }
}

public struct MountError: Error, Sendable, CustomStringConvertible {
  /// One line for the user, with what to do.
  public var description: String
  public init(_ description: String) { self.description = description }
}

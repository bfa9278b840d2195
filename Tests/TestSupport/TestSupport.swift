/// Real servers, temporary folders and mounts for tests, the demo and the benchmarks.
///
/// Nothing here is a mock: `SeaweedFS`, `RcloneS3`, `MotoServer` and `Nginx` start the programs of
/// those names on 127.0.0.1 and free ports, `LoggingProxy` puts nginx before one of them to witness
/// its requests, `MountedMillrace` runs the binary that the build made. Whatever is started here
/// ends with the value that owns it, and with the test process if that dies first
/// (see `ChildProcess`). `requireOrSkip` says what a machine lacks.

/// Something that the test's surroundings refused; the message says what to do.
public struct SupportError: Error, CustomStringConvertible {
  public let description: String
  public init(_ description: String) { self.description = description }
}

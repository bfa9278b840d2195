/// The ground floor: the few things of the operating system that every module above needs.
///
/// Parts:
/// - **locks and threads**: `Lock`, `Monitor`; `Thread`, `ServiceThread`, `WorkerPool`
/// - **time**: `Instant`, a moment of the monotonic clock; durations in words
/// - **files**: `OwnedDescriptor`, `PrivateFolder`, `HeldDirectory`, `readSmallFile`, `openDescriptors`
/// - **the machine**: `MountInfo`, the mount table; `Subprocess`, programs that are started; `UnixSocketAddress`
/// - **numbers**: sums that saturate, `SeededGenerator`, `FNV1a`
///
/// Nothing here knows of stores, caches or FUSE, and nothing here depends on another module. Calls that fail throw
/// `Errno`, or return nil with errno set where that is said.

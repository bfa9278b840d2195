import FileSystem
import Glibc
import LocalStore
import Logging
import Metrics
import ObjectStore
import Posix
import ReadEngine
import SystemPackage

@testable import FuseFrontEnd

/// Whether this machine lets a test mount. Said loudly where it does not; with CI=true the tests
/// run, and fail.
let canMount: Bool = {
  let file = open("/dev/fuse", O_RDWR | O_CLOEXEC)
  if file >= 0 {
    close(file)
    return true
  }
  print("SKIPPED: tests that mount, because /dev/fuse: \(Errno(rawValue: errno))")
  return getenv("CI").map { String(cString: $0) } == "true"
}()

/// A folder of real files, a store over it, and a mount of the store that a loop serves.
final class MountFixture {
  let base: String
  var source: String { base + "/source" }
  var mountPoint: String { base + "/mount" }
  let metrics = Metrics()
  let folder: FolderStore
  /// The folder, with a gate before its fetches.
  let store: GatedStore
  let engine: ReadEngine
  let fileSystem: FileSystem
  let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
  private let guardian: Guardian
  private(set) var front: FuseFrontEnd!
  private var server: Posix.Thread?
  let hasEnded = Monitor(false)

  /// `files`: path and bytes of each.
  init(
    files: [String: [UInt8]], ttl: Duration = .seconds(60), mounts: Bool = true
  ) throws {
    base = "/tmp/millrace-front-\(getpid())-\(UInt32.random(in: 0 ... .max))"
    guardian = Guardian(base: base)
    for folder in [base, base + "/source", base + "/mount"] { mkdir(folder, 0o755) }
    for (path, bytes) in files { try write(bytes, to: base + "/source/" + path) }
    folder = try FolderStore(folder: base + "/source", metrics: metrics.store)
    store = GatedStore(folder)
    engine = try ReadEngine(
      store: store, configuration: EngineConfiguration(memoryLimit: 64 << 20), metrics: metrics,
      log: log)
    fileSystem = FileSystem(
      store: store, prefix: .root, engine: engine,
      options: FileSystemOptions(metadataTTL: ttl, ioTimeout: .seconds(20)), metrics: metrics,
      log: log)
    guard mounts else { return }
    front = try FuseFrontEnd(
      fileSystem: fileSystem, options: options(), metrics: metrics.fuse, log: log)
    serve()
  }

  func options() -> MountOptions {
    MountOptions(
      mountPoint: mountPoint, sourceName: "file://" + source, owner: getuid(), group: getgid())
  }

  private func serve() {
    server = Posix.Thread(named: "test-server") { [front, hasEnded] in
      front!.run()
      hasEnded.signal(all: true) { $0 = true }
    }
  }

  /// True: `run` has returned.
  func waitForEnd(within time: Duration = .seconds(20)) -> Bool {
    hasEnded.wait(until: Instant.now + time) { $0 ? true : nil } ?? false
  }

  var isMounted: Bool { MountInfo.current().topmost(at: mountPoint) != nil }

  func close() {
    store.open()
    front?.unmount(grace: .milliseconds(200))
    if let server, waitForEnd() { server.join() }
    fileSystem.shutdown()
    engine.shutdown()
    store.shutdown()
    guardian.dismiss()
  }
}

/// A process that outlives a crash of the tests and takes away what they mounted and wrote.
private final class Guardian {
  private var process = pid_t()
  private var leash: CInt = -1

  init(base: String) {
    var ends: [CInt] = [-1, -1]
    let kind = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
    guard socketpair(AF_UNIX, kind, 0, &ends) == 0 else { return }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    posix_spawn_file_actions_adddup2(&actions, ends[1], 0)
    let script = """
      read line
      if grep -qF "$0/mount" /proc/self/mountinfo; then
        umount -l "$0/mount" 2>/dev/null || fusermount3 -uzq "$0/mount"
      fi
      rm -rf "$0"
      """
    let words: [String] = ["/bin/sh", "-c", script, base]
    var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
    posix_spawn(&process, "/bin/sh", &actions, nil, &arguments, environ)
    for argument in arguments { free(argument) }
    posix_spawn_file_actions_destroy(&actions)
    Glibc.close(ends[1])
    leash = ends[0]
  }

  func dismiss() {
    Glibc.close(leash)
    var status: CInt = 0
    waitpid(process, &status, 0)
  }
}

func write(_ bytes: [UInt8], to path: String) throws {
  var folder = ""
  for part in path.split(separator: "/").dropLast() {
    folder += "/" + part
    mkdir(folder, 0o755)
  }
  let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
  guard file >= 0 else { throw Errno(rawValue: errno) }
  defer { close(file) }
  var done = 0
  while done < bytes.count {
    let count = bytes[done...].withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
    guard count > 0 else { throw Errno(rawValue: errno) }
    done += count
  }
}

/// Names of a folder as readdir gives them, "." and ".." included.
func names(in path: String) throws -> [String] {
  guard let directory = opendir(path) else { throw Errno(rawValue: errno) }
  defer { closedir(directory) }
  var list: [String] = []
  while let entry = readdir(directory) {
    list.append(
      withUnsafeBytes(of: &entry.pointee.d_name) {
        String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
      })
  }
  return list
}

/// errno of a call that fails, 0 for one that does not.
func failure(_ call: () -> some BinaryInteger) -> CInt {
  errno = 0
  return call() == -1 ? errno : 0
}

/// Runs a program to its end; its exit code.
func run(_ words: String...) -> CInt { exitCode(of: spawn(words)) }

func spawn(_ words: String...) -> pid_t { spawn(words) }

private func spawn(_ words: [String]) -> pid_t {
  var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
  defer { for argument in arguments { free(argument) } }
  var process = pid_t()
  return posix_spawnp(&process, words[0], nil, nil, &arguments, environ) == 0 ? process : -1
}

/// -1 for a program that could not be started or was ended by a signal.
func exitCode(of process: pid_t) -> CInt {
  guard process > 0 else { return -1 }
  var status: CInt = 0
  while waitpid(process, &status, 0) < 0 { if errno != EINTR { return -1 } }
  return status & 0x7f == 0 ? (status >> 8) & 0xff : -1
}

func randomBytes(_ count: Int, seed: UInt64) -> [UInt8] {
  var state = seed | 1
  return (0..<count).map { _ in
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return UInt8(truncatingIfNeeded: state >> 40)
  }
}

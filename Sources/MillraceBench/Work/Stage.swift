import Glibc
import Posix
import TestSupport

/// The data, the servers and the systems of a run.
final class Stage {
  let sizes: Sizes
  let kinds: [SystemKind]
  private(set) var versions: [(String, String)] = []
  let scratch: TemporaryFolder
  private let memory: TemporaryFolder
  private let mounter: Mounter
  private var servers: [String: LinkProcess] = [:]
  private let reader: String
  private var mounts = 0
  private var deviceMode: mode_t?

  /// Makes the files, starts a server a link, fills JuiceFS. Says what is left out.
  init(sizes: Sizes, kinds: [SystemKind]) throws {
    self.sizes = sizes
    scratch = try TemporaryFolder("bench")
    chmod(scratch.path, 0o711)
    // The store's data belong in memory: emptying the page cache is meant for the mounts alone.
    memory = try TemporaryFolder("bench", in: access("/dev/shm", W_OK) == 0 ? "/dev/shm" : nil)
    let tree = try Self.makeFiles(in: scratch, sizes)
    let buckets = try memory.folder("buckets")
    try memory.folder("buckets/juicefs")
    try CommandResult.check(["cp", "-r", tree, buckets + "/data"], within: .seconds(300))
    reader = try scratch.folder("bin") + "/reader"
    try CommandResult.check(["cp", Checkout.beside("MillraceBench"), reader])
    try memory.folder("buckets/big")
    var able = kinds.filter { kind in
      guard let missing = kind.missing else { return true }
      say("\(kind.rawValue) is left out: \(missing)")
      return false
    }
    if !able.contains(.plain) { able.insert(.plain, at: 0) }
    var juice: JuiceVolume?
    if able.contains(.juicefs) {
      say("filling JuiceFS")
      do {
        let filler = try LinkProcess(
          "loopback", folder: buckets, synthetic: [], log: scratch.path("link-fill"))
        defer { filler.stop() }
        juice = try JuiceVolume(filling: tree, through: filler, scratch: scratch)
      } catch {
        say("JuiceFS is left out: \(error)")
        able.removeAll { $0 == .juicefs }
      }
    }
    self.kinds = able
    mounter = Mounter(tree: tree, juice: juice, logs: scratch.path)
    for link in ["loopback", "s3", "far"] {
      servers[link] = try LinkProcess(
        link, folder: buckets,
        synthetic: [
          "big/big.bin=\(sizes.big)", "scattered/object=\(sizes.scattered)",
          "shared/object=\(sizes.shared)",
        ], log: scratch.path("link-" + link))
    }
    versions = Self.versions(able)
    if able.contains(.ordinary) { openDevice() }
  }

  func end() {
    for server in servers.values { server.stop() }
    if let deviceMode { chmod(Self.device, deviceMode) }
  }

  private static let device = "/dev/fuse"

  /// Distributions give everybody the FUSE device; where this machine does not, it is lent for the run.
  private func openDevice() {
    var status = stat()
    guard stat(Self.device, &status) == 0, status.st_mode & 0o006 != 0o006 else { return }
    deviceMode = status.st_mode & 0o7777
    chmod(Self.device, status.st_mode & 0o7777 | 0o666)
  }

  func server(_ link: String) -> LinkProcess { servers[link]! }

  /// One large file and many of 110 KB, of bytes that nothing can compress.
  private static func makeFiles(in scratch: TemporaryFolder, _ sizes: Sizes) throws -> String {
    let tree = try scratch.folder("tree")
    chmod(tree, 0o755)
    try scratch.file("tree/large.bin", seededBytes(sizes.large, seed: 1))
    for index in 0..<sizes.files {
      try scratch.file(
        "tree/small/\(index % 10)/\(index).jpg", seededBytes(110_000, seed: UInt64(index + 2)))
    }
    return tree
  }

  static func versions(_ kinds: [SystemKind]) -> [(String, String)] {
    func line(_ command: [String]) -> String {
      let output = (try? CommandResult.run(command))?.output ?? ""
      return String(output.split(separator: "\n").first ?? "")
    }
    // The builds of a distribution say nothing to others.
    let kernel = line(["uname", "-r"]).split(separator: ".").prefix(2).joined(separator: ".")
    var versions = [("kernel", kernel)]
    versions.append(("millrace", line([(try? Checkout.millrace()) ?? "millrace", "--version"])))
    if kinds.contains(.s3fs) { versions.append(("s3fs", line(["s3fs", "--version"]))) }
    let venv = try? VirtualEnvironment.shared()
    if kinds.contains(.rclone), let program = venv?.program("rclone") {
      versions.append(("rclone", line([program, "version"])))
    }
    if kinds.contains(.juicefs), let program = venv?.program("juicefs") {
      versions.append(("JuiceFS", line([program, "--version"])))
    }
    return versions
  }

  // MARK: Mounting

  /// An empty cache folder. One of many small files is kept to the end of the run: ext4 searches long for an
  /// inode while many were freed a minute ago, and the next system would pay for that.
  func newCache() throws -> String {
    mounts += 1
    return try scratch.folder("cache-\(mounts)")
  }

  /// Mounts, lists the top folder, hands over, unmounts whatever happens.
  func withMount<Value>(
    _ kind: SystemKind, _ link: String, bucket: String = "data", cache: String,
    _ body: (MountedSystem) throws -> Value
  ) throws -> Value {
    try Interruption.check()
    let place = try scratch.folder("mnt")
    let mount = try mounter.mount(
      kind, server: server(link), bucket: bucket, at: place, cache: cache)
    do {
      _ = try CommandResult.check(mount.runAs + ["ls", mount.path], within: .seconds(60))
      let value = try body(mount)
      try mount.unmount()
      return value
    } catch {
      try? mount.unmount()
      Mounts.detach(place)
      throw error
    }
  }

  // MARK: Reading

  struct Outcome {
    var seconds: Double
    var bytes: Int
    var extra: Double
    var usage: Usage
    var diskBytes: Int
  }

  /// Runs the reader as a user who may read the mount, and measures what it costs.
  func read(_ mount: MountedSystem, _ link: String, _ arguments: [String]) throws -> Outcome {
    let server = server(link)
    try server.reset()
    let disk = Machine.bytesReadFromDisk
    let before = ProcessUsage(of: mount.pid)
    let output = try CommandResult.check(
      mount.runAs + [reader, "read"] + arguments, within: .seconds(900)
    ).output
    let after = ProcessUsage(of: mount.pid)
    let statistics = try server.statistics()
    let fields = output.split(separator: " ").compactMap { field in
      Double(field.filter { $0 != "\n" })
    }
    guard fields.count == 3 else { throw SupportError("the reader said: \(output)") }
    let usage = Usage(
      cpuSeconds: after.cpuSeconds - before.cpuSeconds, peakResident: after.peakResident,
      requests: statistics.requests, bytesFetched: statistics.bytes,
      connections: statistics.connectionsPeak)
    return Outcome(
      seconds: fields[0], bytes: Int(fields[1]), extra: fields[2], usage: usage,
      diskBytes: Machine.bytesReadFromDisk - disk)
  }

  /// The small files of a mount, as the reader takes them.
  func smallFiles(of mount: MountedSystem, first count: Int? = nil) throws -> String {
    let names = (0..<(count ?? sizes.files)).map { "\(mount.path)/small/\($0 % 10)/\($0).jpg" }
    let list = try scratch.file("names", text: names.joined(separator: "\n") + "\n")
    chmod(list, 0o644)
    return "@" + list
  }
}

import Glibc
import Posix
import TestSupport

/// The store of names, the plain folder beside it, and how a walk is timed.
final class NamesStage {
  let sizes: NamesSizes
  let kinds: [SystemKind]
  let versions: [(String, String)]
  private let scratch: TemporaryFolder
  private let mounter: Mounter
  let loopback: LinkProcess
  /// Each answer begins after 20 ms.
  let delayed: LinkProcess
  private let plainFlat: String
  private var mounts = 0

  /// The kernel frees the inodes of five million names when the mount goes.
  private static let unmountPatience = Duration.seconds(600)
  static let walkPatience = Duration.seconds(1800)

  init(sizes: NamesSizes, kinds: [SystemKind]) throws {
    self.sizes = sizes
    scratch = try TemporaryFolder("names")
    var able = kinds.filter { kind in
      guard let reason = Self.missing(kind) else { return true }
      say("\(kind.rawValue) is left out: \(reason)")
      return false
    }
    if !able.contains(.plain) { able.insert(.plain, at: 0) }
    say("making \(grouped(sizes.small.objects + sizes.flat.objects)) empty files")
    let tree = try scratch.folder("tree")
    try Self.makeFiles(sizes.small, in: tree)
    plainFlat = try scratch.folder("flat")
    try Self.makeFiles(sizes.flat, in: plainFlat)
    let trees = sizes.all.flatMap { ["--synthetic-tree", $0.option] }
    let buckets = try scratch.folder("buckets")
    try scratch.folder("buckets/juicefs")
    loopback = try LinkProcess(
      "loopback", folder: buckets, options: trees, log: scratch.path("link"))
    delayed = try LinkProcess(
      "loopback", folder: buckets, options: trees + ["--first-byte-exact", "20"],
      log: scratch.path("link-20"))
    var juice: JuiceVolume?
    if able.contains(.juicefs) {
      say("filling JuiceFS")
      do {
        juice = try JuiceVolume(filling: tree, through: loopback, scratch: scratch)
      } catch {
        say("JuiceFS is left out: \(error)")
        able.removeAll { $0 == .juicefs }
      }
    }
    mounter = Mounter(
      tree: tree, juice: juice, logs: scratch.path, unmountPatience: Self.unmountPatience)
    self.kinds = able
    versions = Stage.versions(able)
  }

  func end() {
    loopback.stop()
    delayed.stop()
  }

  private static func missing(_ kind: SystemKind) -> String? {
    switch kind {
    case .plainPath, .ordinary: "names are served as by millrace's default options"
    default: kind.missing
    }
  }

  /// The names that the store makes up have the same shape and length.
  private static func makeFiles(_ tree: NamesSizes.Tree, in folder: String) throws {
    let fill = String(repeating: "0", count: NamesSizes.nameLength - 13)
    for index in 0..<tree.objects {
      let parent =
        tree.folders > 0 ? folder + "/folder-" + padded(index / tree.files, 6) : folder
      if tree.folders > 0, index % tree.files == 0 { mkdir(parent, 0o755) }
      let path = "\(parent)/\(padded(index % tree.files, 8))-\(fill).jpg"
      let file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0o644)
      guard file >= 0 else { throw SupportError("cannot make \(path): errno \(errno)") }
      close(file)
    }
  }

  // MARK: Mounting

  /// Mounts over an empty cache, hands over, unmounts whatever happens.
  func withMount(
    _ kind: SystemKind, _ server: LinkProcess, _ tree: NamesSizes.Tree, options: [String] = [],
    _ body: (MountedSystem) throws -> Void
  ) throws {
    try Interruption.check()
    if kind == .plain {
      return try body(.plain(tree.folders > 0 ? mounter.tree : plainFlat))
    }
    mounts += 1
    let cache = try scratch.folder("cache-\(mounts)")
    defer { removeTree(cache) }
    let place = try scratch.folder("mnt")
    let mount = try mounter.mount(
      kind, server: server, bucket: tree.bucket, at: place, cache: cache, options: options)
    do {
      try body(mount)
      try mount.unmount()
    } catch {
      try? mount.unmount()
      Mounts.detach(place)
      throw error
    }
  }

  // MARK: Walking

  struct Walk {
    var seconds: Double
    var usage: Usage
  }

  /// Runs `command`, a line of shell in which $0 is the mount, and counts what it cost. Bash says how long
  /// it took, to the millisecond: to look whether it has ended would take longer than some of them.
  func walk(
    _ mount: MountedSystem, _ server: LinkProcess, _ command: String,
    within patience: Duration = walkPatience
  ) throws -> Walk {
    try server.reset()
    let before = ProcessUsage(of: mount.pid)
    let said = try CommandResult.check(
      ["bash", "-c", "TIMEFORMAT=%R; time \(command) >/dev/null", mount.path], within: patience)
    let after = ProcessUsage(of: mount.pid)
    guard let seconds = said.errors.split(separator: "\n").last.flatMap({ Double($0) }) else {
      throw SupportError("\(command) said: \(said.errors)")
    }
    let statistics = try server.statistics()
    return Walk(
      seconds: seconds,
      usage: Usage(
        cpuSeconds: after.cpuSeconds - before.cpuSeconds, peakResident: after.peakResident,
        requests: statistics.requests, bytesFetched: statistics.bytes,
        connections: statistics.connectionsPeak))
  }

  /// A walk that sees less than there is, is none. JuiceFS's top folder has files of its own besides.
  func check(_ mount: MountedSystem, has tree: NamesSizes.Tree) throws {
    let output = try CommandResult.check(
      ["bash", "-c", "find \"$0\" -type f -name '*.jpg' | wc -l", mount.path],
      within: Self.walkPatience
    ).output
    let found = Int(output.filter(\.isNumber)) ?? 0
    guard found == tree.objects else {
      throw SupportError("found \(grouped(found)) of \(grouped(tree.objects)) files")
    }
  }
}

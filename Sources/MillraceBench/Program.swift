/// `make bench`: this mount beside the plain folder, s3fs and rclone: one server, the same files, the
/// same run, the systems taking turns. A table on standard output, and with the single values as JSON
/// in .build/bench/.
///
/// Absolute numbers are the machine's; ratios to the plain folder are what to compare. MILLRACE_BENCH_
/// REPEAT, _MIB and _FILES make it longer or larger.
import Glibc
import Posix
import TestSupport

@main
enum Program {
  static func main() {
    Interruption.watch()
    do { try bench() } catch {
      printError("bench: \(error)")
      exit(1)
    }
  }

  static func bench() throws {
    guard requireOrSkip(.fuse) else { exit(1) }
    let size = setting("MIB", 256)
    let files = setting("FILES", 1000)
    let repeats = setting("REPEAT", 3)
    let scratch = try TemporaryFolder("bench")
    let tree = try makeFiles(in: scratch, mebibytes: size, files: files)
    let shared = hasRoom("/dev/shm", mebibytes: 3 * (size + files / 9) + 256)
    let server = try SeaweedFS.start(in: shared ? "/dev/shm" : nil)
    defer { server.stop() }
    try server.endpoint.putTree(tree, to: "data")

    var systems: [any MountedSystem] = [
      PlainFolder(tree: tree), MillraceSystem(endpoint: server.endpoint, passthrough: true),
      MillraceSystem(endpoint: server.endpoint, passthrough: false),
    ]
    if let s3fs = try S3fsSystem(endpoint: server.endpoint, scratch: scratch) {
      systems.append(s3fs)
    } else {
      say("s3fs is missing (apt-get install s3fs): the table is without it")
    }
    systems.append(try RcloneSystem(endpoint: server.endpoint))

    let runner = Runner(scratch: scratch, files: files)
    var results = Results()
    for round in 1...repeats {
      for system in systems {
        try Interruption.check()
        say("round \(round) of \(repeats): \(system.name)")
        do { try runner.run(system, round: round, &results) } catch {
          say("  \(system.name) failed: \(error)")
        }
      }
    }
    try report(
      results, systems, size: size, files: files, repeats: repeats,
      server: shared ? "its data in memory" : "its data on the same disk")
  }

  private static func setting(_ name: String, _ usual: Int) -> Int {
    environmentVariable("MILLRACE_BENCH_\(name)").flatMap { Int($0) } ?? usual
  }

  /// The server's data belong in memory: emptying the page cache is meant for the mounts alone.
  private static func hasRoom(_ folder: String, mebibytes: Int) -> Bool {
    var status = statvfs()
    guard access(folder, W_OK) == 0, statvfs(folder, &status) == 0 else { return false }
    return Int(status.f_bavail) * Int(status.f_frsize) > mebibytes << 20
  }

  /// One large file and many of 110 KB, of bytes that nothing can compress.
  private static func makeFiles(in scratch: TemporaryFolder, mebibytes: Int, files: Int) throws
    -> String
  {
    try scratch.file("tree/large.bin", seededBytes(mebibytes << 20, seed: 1))
    for index in 0..<files {
      try scratch.file(
        "tree/small/\(index % 10)/\(index).jpg", seededBytes(110_000, seed: UInt64(index + 2)))
    }
    return scratch.path("tree")
  }

  private static func report(
    _ results: Results, _ systems: [any MountedSystem], size: Int, files: Int, repeats: Int,
    server: String
  ) throws {
    let names = systems.map(\.name)
    let dropped = Reader.dropPageCache()
    var lines = [
      results.markdown(names), "",
      "Median of \(repeats) runs (least to most), x: ratio to the plain folder. Large file: "
        + "\(size) MiB, one reader; small: \(files) files of 110 KB, 4 readers; SeaweedFS on the same "
        + "machine, \(server), \(sysconf(CInt(_SC_NPROCESSORS_ONLN))) cores.",
      dropped
        ? "From disk: mounted anew, page cache emptied."
        : "From disk: mounted anew; the page cache was NOT emptied (that needs root).",
    ]
    lines += systems.map { "- \($0.name): \($0.remark)" }
    let text = lines.joined(separator: "\n")
    say("\n" + text)
    let folder = Checkout.buildFolder + "/bench"
    mkdir(folder, 0o755)
    try writeFile(folder + "/table.md", (text + "\n").utf8)
    let about = [
      ("large file", "\(size) MiB"), ("small files", "\(files)"),
      ("page cache", dropped ? "emptied" : "kept"),
    ]
    try writeFile(folder + "/results.json", results.json(names, about: about).utf8)
    say("\nin .build/bench: table.md, results.json")
  }
}

/// One system, one round: an empty cache, then a second mount over what the first left.
struct Runner {
  let scratch: TemporaryFolder
  let files: Int

  func run(_ system: any MountedSystem, round: Int, _ results: inout Results) throws {
    let label = system.name.filter { $0 != " " }
    let cache = try scratch.folder("cache-\(label)-\(round)")
    defer { removeTree(cache) }
    let place = try scratch.folder("mnt-\(label)")

    let first = try system.mount(at: place, cache: cache)
    try whileMounted(first) { path in
      _ = Reader.dropPageCache()
      try measure(path, [.sequentialCold, .smallCold], system, &results)
    }
    let second = try system.mount(at: place, cache: cache)
    try whileMounted(second) { path in
      _ = Reader.dropPageCache()
      try measure(path, [.sequentialWarm, .smallWarm], system, &results)
      try measure(path, [.sequentialHot, .smallHot], system, &results)
    }
  }

  private func whileMounted(_ mount: any Mounted, _ body: (String) throws -> Void) throws {
    do { try body(mount.path) } catch {
      try? mount.unmount()
      throw error
    }
    try mount.unmount()
  }

  /// The large file by one reader, then the small ones by four.
  private func measure(
    _ path: String, _ pair: [Measure], _ system: any MountedSystem, _ results: inout Results
  ) throws {
    try Interruption.check()
    let large = try Reader.read([path + "/large.bin"], threads: 1)
    results.add(Double(large.bytes) / 1e6 / large.seconds, pair[0], of: system.name)
    let names = (0..<files).map { "\(path)/small/\($0 % 10)/\($0).jpg" }
    let small = try Reader.read(names, threads: 4)
    results.add(Double(files) / small.seconds, pair[1], of: system.name)
  }
}

import Glibc
import Posix
import TestSupport

/// Measures on a stage: one group of work, by every system that can do it, in turn.
struct WorkMeasures {
  let stage: Stage

  private var sizes: Sizes { stage.sizes }

  func measure(_ work: Work, over link: String, round: Int, into results: inout Results) throws {
    say("round \(round), \(link): \(work.rawValue)")
    try bound(work, link, &results)
    for kind in stage.kinds {
      try Interruption.check()
      do {
        switch work {
        case .sequential: try sequential(kind, link, &results)
        case .random: try random(kind, link, &results)
        case .small: try small(kind, link, &results)
        case .smallCold: try smallCold(kind, link, &results)
        case .big: try big(kind, link, &results)
        case .firstByte: try firstByte(kind, link, &results)
        case .scattered: try scattered(kind, link, &results)
        case .shared: try shared(kind, link, &results)
        case .start: try start(kind, link, &results)
        }
      } catch let error as SupportError {
        say("  \(kind.rawValue): \(error)")
      }
    }
  }

  // MARK: Loopback

  private func sequential(_ kind: SystemKind, _ link: String, _ results: inout Results) throws {
    let cache = try stage.newCache()
    defer { removeTree(cache) }
    Machine.warmMemory(4 * sizes.large)
    let file = "/large.bin"
    if kind != .plain {
      try stage.withMount(kind, link, cache: cache) { mount in
        let cold = try stage.read(mount, link, [mount.path + file])
        results.add(.rate("\(mebibytes) MiB, \(link), cold"), kind, megabytes(cold), cold.usage)
      }
    }
    Machine.dropPageCache()
    try stage.withMount(kind, link, cache: cache) { mount in
      let warm = try stage.read(mount, link, [mount.path + file])
      results.add(
        .rate("\(mebibytes) MiB, from disk"), kind, megabytes(warm), warm.usage,
        note: warm.diskBytes < sizes.large * 9 / 10 ? "not all from disk" : nil)
      for _ in 0..<2 {
        let hot = try stage.read(mount, link, [mount.path + file])
        results.add(.rate("\(mebibytes) MiB, again"), kind, megabytes(hot), hot.usage)
      }
    }
    if kind == .plain {
      let raw = try stage.server(link).raw("/data/large.bin", connections: 1, bytes: sizes.large)
      results.bound(.rate("\(mebibytes) MiB, \(link), cold"), "one connection", raw.mbPerSecond)
    }
  }

  private func random(_ kind: SystemKind, _ link: String, _ results: inout Results) throws {
    let cache = try stage.newCache()
    defer { removeTree(cache) }
    try stage.withMount(kind, link, cache: cache) { mount in
      _ = try stage.read(mount, link, [mount.path + "/large.bin"])
    }
    Machine.dropPageCache()
    try stage.withMount(kind, link, cache: cache) { mount in
      let outcome = try stage.read(
        mount, link,
        [
          "--mode", "pread", "--threads", "2", "--size", "4096", "--count",
          "\(sizes.randomReads)", mount.path + "/large.bin",
        ])
      results.add(
        Measure(name: "random 4 KiB, 2 readers, from disk", unit: "reads/s"), kind,
        Double(2 * sizes.randomReads) / outcome.seconds, outcome.usage)
    }
  }

  private func small(_ kind: SystemKind, _ link: String, _ results: inout Results) throws {
    let cache = try stage.newCache()
    try stage.withMount(kind, link, cache: cache) { mount in
      _ = try stage.read(mount, link, ["--threads", "16", stage.smallFiles(of: mount)])
    }
    Machine.warmMemory(1 << 30)
    Machine.dropPageCache()
    try stage.withMount(kind, link, cache: cache) { mount in
      let arguments = try ["--threads", "4", stage.smallFiles(of: mount)]
      for name in ["from disk", "again", "again"] {
        let outcome = try stage.read(mount, link, arguments)
        results.add(
          Measure(name: "\(sizes.files) files of 110 KB, 4 readers, \(name)", unit: "files/s"),
          kind, Double(sizes.files) / outcome.seconds, outcome.usage)
      }
    }
  }

  private func smallCold(_ kind: SystemKind, _ link: String, _ results: inout Results) throws {
    guard kind != .plain else { return }
    let cache = try stage.newCache()
    Machine.warmMemory(1 << 30)
    try stage.withMount(kind, link, cache: cache) { mount in
      let outcome = try stage.read(mount, link, ["--threads", "16", stage.smallFiles(of: mount)])
      results.add(
        smallColdMeasure(link), kind, Double(sizes.files) / outcome.seconds, outcome.usage)
    }
  }

  private func start(_ kind: SystemKind, _ link: String, _ results: inout Results) throws {
    guard kind != .plain else { return }
    let cache = try stage.newCache()
    let begin = Instant.now
    try stage.withMount(kind, link, cache: cache) { mount in
      results.add(
        Measure(name: "mount to first ls", unit: "ms", isWait: true), kind,
        (Instant.now - begin).seconds * 1000, Usage())
      results.add(
        Measure(name: "resident when idle", unit: "MiB", isWait: true), kind,
        Double(ProcessUsage(of: mount.pid).resident) / 1_048_576, Usage())
    }
  }

  // MARK: Links

  private static let connections = ["loopback": 1, "s3": 16, "far": 32]

  /// What the link itself gives, measured in the same round.
  private func bound(_ work: Work, _ link: String, _ results: inout Results) throws {
    let server = stage.server(link)
    switch work {
    case .big:
      let count = Self.connections[link]!
      let raw = try server.raw("/big/big.bin", connections: count, bytes: sizes.big)
      results.bound(bigMeasure(link), "\(count) connections, raw", raw.mbPerSecond)
    case .smallCold:
      let raw = try server.raw(
        "/data/large.bin", connections: 16, bytes: min(sizes.large, sizes.files * 110_000),
        range: 110_000)
      results.bound(
        smallColdMeasure(link), "16 connections, raw", raw.mbPerSecond * 1e6 / 110_000)
    case .firstByte:
      let raw = try server.raw(
        "/data/small/0/0.jpg", connections: 1, bytes: sizes.firstBytes * 500, range: 500)
      results.bound(firstByteMeasure(link), "raw", raw.firstByteSeconds * 1000)
    case .scattered:
      let piece = 256 << 10
      let raw = try server.raw(
        "/scattered/object", connections: 8, bytes: 8 * sizes.scatteredReads / 2 * piece,
        range: piece)
      let reads = raw.mbPerSecond * 1e6 / Double(piece)
      for measure in scatteredMeasures(link) {
        results.bound(measure, "8 connections asking for the same", reads)
      }
    default: break
    }
  }

  private func bigMeasure(_ link: String) -> Measure {
    .rate("\(sizes.big >> 20) MiB, \(link), cold")
  }

  private func smallColdMeasure(_ link: String) -> Measure {
    Measure(name: "\(sizes.files) files of 110 KB, 16 readers, \(link), cold", unit: "files/s")
  }

  private func firstByteMeasure(_ link: String) -> Measure {
    Measure(name: "first byte of a file, \(link)", unit: "ms", isWait: true)
  }

  private func scatteredMeasures(_ link: String) -> [Measure] {
    ["read", "mapping"].map {
      Measure(name: "random 128 KiB, 8 readers, \(link), by \($0)", unit: "reads/s")
    }
  }

  private func big(_ kind: SystemKind, _ link: String, _ results: inout Results) throws {
    guard kind.readsSynthetic else { return try large(kind, link, &results) }
    let cache = try stage.newCache()
    defer { removeTree(cache) }
    Machine.warmMemory(3 * sizes.big)
    try stage.withMount(kind, link, bucket: "big", cache: cache) { mount in
      let outcome = try stage.read(mount, link, [mount.path + "/big.bin"])
      results.add(bigMeasure(link), kind, megabytes(outcome), outcome.usage)
    }
  }

  /// What cannot read an object that exists in name only reads the large file.
  private func large(_ kind: SystemKind, _ link: String, _ results: inout Results) throws {
    guard kind != .plain else { return }
    let cache = try stage.newCache()
    defer { removeTree(cache) }
    try stage.withMount(kind, link, cache: cache) { mount in
      let outcome = try stage.read(mount, link, [mount.path + "/large.bin"])
      results.add(
        bigMeasure(link), kind, megabytes(outcome), outcome.usage, note: "\(mebibytes) MiB")
    }
  }

  private func firstByte(_ kind: SystemKind, _ link: String, _ results: inout Results) throws {
    guard kind != .plain else { return }
    let cache = try stage.newCache()
    try stage.withMount(kind, link, cache: cache) { mount in
      for folder in 0..<10 {
        _ = try CommandResult.check(
          mount.runAs + ["ls", "\(mount.path)/small/\(folder)"], within: .seconds(60))
      }
      let outcome = try stage.read(
        mount, link, ["--mode", "first", stage.smallFiles(of: mount, first: sizes.firstBytes)])
      results.add(firstByteMeasure(link), kind, outcome.extra * 1000, outcome.usage)
    }
  }

  private func scattered(_ kind: SystemKind, _ link: String, _ results: inout Results) throws {
    // The others fetch whole files or 64 MB and more for such reads: minutes, and no news.
    guard kind.isMillrace else { return }
    let size = 128 << 10
    let touched = Scatter.touched(
      readers: 8, count: sizes.scatteredReads, size: size, of: sizes.scattered)
    for (mode, measure) in zip(["pread", "mmap"], scatteredMeasures(link)) {
      let cache = try stage.newCache()
      defer { removeTree(cache) }
      try stage.withMount(kind, link, bucket: "scattered", cache: cache) { mount in
        let outcome = try stage.read(
          mount, link,
          [
            "--mode", mode, "--threads", "8", "--size", "\(size)", "--count",
            "\(sizes.scatteredReads)", mount.path + "/object",
          ])
        let over = Double(outcome.usage.bytesFetched) / Double(touched)
        results.add(
          measure, kind, Double(8 * sizes.scatteredReads) / outcome.seconds, outcome.usage,
          note: "\(hundredths(over)) x fetched")
      }
    }
  }

  private func shared(_ kind: SystemKind, _ link: String, _ results: inout Results) throws {
    guard kind == .millrace || kind == .plainPath else { return }
    let cases: [(String, [String])] = [
      ("one reader", ["--mode", "round"]), ("four", ["--mode", "round", "--threads", "4"]),
      ("four, O_DIRECT", ["--mode", "round", "--threads", "4", "--direct"]),
    ]
    for (name, arguments) in cases {
      let cache = try stage.newCache()
      defer { removeTree(cache) }
      Machine.warmMemory(2 * sizes.shared)
      try stage.withMount(kind, link, bucket: "shared", cache: cache) { mount in
        let outcome = try stage.read(mount, link, arguments + [mount.path + "/object"])
        let over = Double(outcome.usage.bytesFetched) / Double(sizes.shared)
        results.add(
          .rate("\(sizes.shared >> 20) MiB object, \(link), \(name)"), kind,
          Double(sizes.shared) / 1e6 / outcome.seconds, outcome.usage,
          note: "\(hundredths(over)) x fetched")
      }
    }
  }

  private var mebibytes: Int { sizes.large >> 20 }

  private func megabytes(_ outcome: Stage.Outcome) -> Double {
    Double(outcome.bytes) / 1e6 / outcome.seconds
  }
}

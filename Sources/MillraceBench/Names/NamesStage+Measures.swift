import Posix
import TestSupport

/// One round: every system that can do it within a minute or so, in turn.
extension NamesStage {
  func measure(round: Int, into results: inout Results) throws {
    let steps: [(String, (SystemKind, inout Results) throws -> Void)] = [
      ("loopback", overLoopback), ("20 ms a request", delayedTree),
      ("one directory, 20 ms a page", delayedFlat), ("a million, 20 ms a page", delayedMillion),
    ]
    for (name, step) in steps {
      say("round \(round), names: \(name)")
      for kind in kinds { try attempt(kind, &results, step) }
    }
    // The same each time, and minutes.
    guard round == 1 else { return }
    say("names: memory")
    for tree in [sizes.million, sizes.millions] {
      try attempt(.millrace, &results) { try memory($0, tree, &$1) }
    }
  }

  /// The part of it that the README's picture shows.
  func measureFirstFinds(round: Int, into results: inout Results) throws {
    say("round \(round), names: 20 ms a request")
    for kind in kinds where kind != .plain {
      try attempt(kind, &results) { kind, results in
        // JuiceFS asks no store for names: they are in a data base on this machine.
        if kind == .juicefs {
          try withMount(kind, loopback, sizes.small) { mount in
            add(
              &results, name(delayedTree: sizes.small), kind, try walk(mount, loopback, Self.find))
          }
        } else {
          try delayedTree(kind, &results)
        }
      }
    }
    try attempt(.millrace, &results, delayedMillion)
  }

  /// Medians of `measureFirstFinds`, by system; the largest tree first.
  func firstFinds(_ results: Results) -> [(kind: SystemKind, objects: Int, seconds: Double)] {
    let million = results.median(measure(name(million: sizes.million)), .millrace)
    let large = million.map { [(kind: SystemKind.millrace, sizes.million.objects, seconds: $0)] }
    let others = kinds.compactMap { kind in
      results.median(measure(name(delayedTree: sizes.small)), kind).map {
        (kind: kind, objects: sizes.small.objects, seconds: $0)
      }
    }
    return (large ?? []) + others
  }

  private func attempt(
    _ kind: SystemKind, _ results: inout Results,
    _ step: (SystemKind, inout Results) throws -> Void
  ) throws {
    guard kinds.contains(kind) else { return }
    try Interruption.check()
    do { try step(kind, &results) } catch let error as SupportError {
      say("  \(kind.rawValue): \(error)")
    }
  }

  private static let find = "find \"$0\""
  private static let patienceForPeers = Duration.seconds(120)

  private func overLoopback(_ kind: SystemKind, _ results: inout Results) throws {
    let tree = sizes.small
    try withMount(kind, loopback, tree) { mount in
      if kind == .plain { try forget() }
      let first = try walk(mount, loopback, Self.find)
      add(&results, "find, \(tree.description), nothing cached", kind, first)
      for _ in 0..<3 {
        add(&results, "the same again", kind, try walk(mount, loopback, Self.find))
      }
      let lines = try walk(
        mount, loopback, "ls -lR \"$0\"", within: Self.patienceForPeers)
      add(&results, "ls -lR of it, the first", kind, lines)
      for _ in 0..<3 {
        add(&results, "ls -lR of it again", kind, try walk(mount, loopback, "ls -lR \"$0\""))
      }
      try check(mount, has: tree)
    }
  }

  /// The plain folder's own first time: the names come from the disk, the programs do not.
  private func forget() throws {
    Machine.dropPageCache()
    try CommandResult.check(["bash", "-c", "find /dev/null && ls -lR /dev/null && time true"])
  }

  private func delayedTree(_ kind: SystemKind, _ results: inout Results) throws {
    // Its names are in a data base beside it: it asks the store for none.
    guard kind != .juicefs else { return }
    guard kind != .plain else {
      return try bare(&results, name(delayedTree: sizes.small), sizes.small)
    }
    try withMount(kind, delayed, sizes.small) { mount in
      let first = try walk(mount, delayed, Self.find, within: Self.patienceForPeers)
      add(&results, name(delayedTree: sizes.small), kind, first)
    }
  }

  private func name(delayedTree tree: NamesSizes.Tree) -> String {
    "find, \(tree.description), 20 ms a request"
  }

  private func name(million tree: NamesSizes.Tree) -> String {
    "mount to complete find, \(tree.description), 20 ms a page"
  }

  private func delayedFlat(_ kind: SystemKind, _ results: inout Results) throws {
    let tree = sizes.flat
    let name = "ls -f, \(tree.description), 20 ms a page"
    if kind == .plain { try bare(&results, name, tree) }
    // A request a file: a hundred thousand of them.
    guard kind != .s3fs, kind != .juicefs else { return }
    try withMount(kind, delayed, tree) { mount in
      if kind == .plain { try forget() }
      let first = try walk(mount, delayed, "ls -f \"$0\"", within: Self.patienceForPeers)
      add(&results, name, kind, first)
      try check(mount, has: tree)
    }
  }

  private func delayedMillion(_ kind: SystemKind, _ results: inout Results) throws {
    guard kind == .millrace else { return }
    let tree = sizes.million
    let name = name(million: tree)
    try bare(&results, name, tree)
    let begin = Instant.now
    var mounted = begin
    try withMount(kind, delayed, tree) { mount in
      mounted = Instant.now
      var first = try walk(mount, delayed, Self.find)
      first.seconds += (mounted - begin).seconds
      add(&results, name, kind, first)
      // What of it is the walk itself.
      let again = try walk(mount, delayed, Self.find)
      add(&results, "find of the \(grouped(tree.objects)) again", kind, again)
      try check(mount, has: tree)
    }
  }

  /// Every name stat'ed once. What it took is measured beside it, under a line of its own.
  private func memory(
    _ kind: SystemKind, _ tree: NamesSizes.Tree, _ results: inout Results
  ) throws {
    let name = "\(tree.description), each stat'ed"
    try withMount(kind, loopback, tree, options: ["--metadata-limit", "2GiB"]) { mount in
      let start = ProcessUsage(of: mount.pid).resident
      let all = try walk(mount, loopback, "find \"$0\" -printf '%s\\n'")
      let peak = ProcessUsage(of: mount.pid).peakResident
      let bytes = Double(peak - start) / Double(tree.objects)
      results.add(
        Measure(name: "peak memory an object, \(name)", unit: "B", isWait: true), kind, bytes,
        all.usage, note: "\(start >> 20) to \(peak >> 20) MiB")
      add(&results, "find -printf %s, \(name), loopback", kind, all)
      try check(mount, has: tree)
    }
  }

  private func bare(
    _ results: inout Results, _ name: String, _ tree: NamesSizes.Tree
  ) throws {
    let listing = try delayed.list(tree.bucket, connections: 32)
    results.bound(
      measure(name), "\(tree.folders > 0 ? 32 : 1) at once, \(grouped(listing.requests)) req",
      listing.seconds)
  }

  private func add(_ results: inout Results, _ name: String, _ kind: SystemKind, _ walk: Walk) {
    results.add(measure(name), kind, walk.seconds, walk.usage)
  }

  private func measure(_ name: String) -> Measure { Measure(name: name, unit: "s", isWait: true) }
}

import Glibc
import Posix
import TestSupport

/// The files of one training loop, their server behind the s3 link, the loop itself and its systems.
final class TrainingStage {
  let shape: TrainingShape
  let kinds: [SystemKind]
  let bytes: Int
  private let files: Int
  private let scratch: TemporaryFolder
  private let memory: TemporaryFolder
  private let server: LinkProcess
  private let cage: PageCacheCage?
  private var trainer: Trainer
  private var mounter: Mounter
  private var mounts = 0
  private var seed = 0

  /// Of the daemon, in runs whose cache holds half of the files; the rest of the half is disk.
  static let memoryLimit = 64 << 20

  init(_ shape: TrainingShape, kinds: [SystemKind], cage: PageCacheCage?, isQuick: Bool) throws {
    self.shape = shape
    self.cage = cage
    files = shape.files(isQuick: isQuick)
    scratch = try TemporaryFolder("training")
    memory = try TemporaryFolder("training", in: access("/dev/shm", W_OK) == 0 ? "/dev/shm" : nil)
    let tree = try scratch.folder("tree")
    try CommandResult.check(
      [
        VirtualEnvironment.shared().python, Checkout.tools + "/training.py", "make", shape.loop,
        tree, "\(files)",
      ], within: .seconds(300))
    let buckets = try memory.folder("buckets")
    try memory.folder("buckets/juicefs")
    try CommandResult.check(["cp", "-r", tree, buckets + "/data"], within: .seconds(300))
    let size = try CommandResult.check(["du", "-sb", tree]).output.prefix { $0.isNumber }
    bytes = Int(size) ?? 0
    var able = kinds.filter { $0.missing == nil && shape.isFor($0) }
    var juice: JuiceVolume?
    if able.contains(.juicefs) {
      do {
        let filler = try LinkProcess("loopback", folder: buckets, log: scratch.path("link-fill"))
        defer { filler.stop() }
        juice = try JuiceVolume(filling: tree, through: filler, scratch: scratch)
      } catch {
        say("JuiceFS is left out: \(error)")
        able.removeAll { $0 == .juicefs }
      }
    }
    self.kinds = able
    server = try LinkProcess(
      "s3", folder: buckets, synthetic: ["data/\(Self.object)=\(5 << 30)"],
      log: scratch.path("link"))
    let prefix = cage?.prefix ?? []
    mounter = Mounter(tree: tree, juice: juice, logs: scratch.path, prefix: prefix)
    trainer = try Trainer(shape, behind: prefix, scratch: scratch)
  }

  func end() {
    trainer.end()
    server.stop()
  }

  // MARK: Measuring

  func measure(round: Int, into results: inout TrainingResults) throws {
    for kind in kinds {
      try Interruption.check()
      say("round \(round), \(shape.rawValue): \(kind.rawValue)")
      seed = round
      do {
        try empty(kind, &results)
        guard kind != .plain else { continue }
        if kind.isMillrace { try ordered(kind, &results) }
        guard let half = halfOptions(kind) else { continue }
        try halved(kind, half, .none, &results)
        if kind.isMillrace { try halved(kind, half, .next, &results) }
        if kind.isMillrace, shape == .many { try fillCost(kind, &results) }
      } catch let error as SupportError {
        say("  \(kind.rawValue): \(error)")
        try restart()
      }
    }
  }

  /// The part of it that the README's picture shows.
  func measureTwoEpochs(round: Int, into results: inout TrainingResults) throws {
    for kind in kinds {
      try Interruption.check()
      say("round \(round), \(shape.rawValue): \(kind.rawValue)")
      seed = round
      do { try empty(kind, &results) } catch let error as SupportError {
        say("  \(kind.rawValue): \(error)")
        try restart()
      }
    }
  }

  /// A loop that ended with its system is none for the next one.
  private func restart() throws {
    trainer.end()
    trainer = try Trainer(shape, behind: cage?.prefix ?? [], scratch: scratch)
  }

  /// An empty cache, and what is found in it the second time.
  private func empty(_ kind: SystemKind, _ results: inout TrainingResults) throws {
    let epochs = try run(kind, epochs: 2)
    results.add(shape, .cold, kind, epochs[0])
    results.add(shape, .warm, kind, epochs[1])
  }

  private func ordered(_ kind: SystemKind, _ results: inout TrainingResults) throws {
    results.add(shape, .coldOrdered, kind, try run(kind, epochs: 1, order: .epoch)[0])
  }

  private func halved(
    _ kind: SystemKind, _ options: [String], _ order: Trainer.Order,
    _ results: inout TrainingResults
  ) throws {
    let epochs = try run(kind, epochs: 3, order: order, options: options)
    results.add(shape, order == .none ? .half : .halfOrdered, kind, epochs[2])
  }

  /// What holds a system's cache to half of the files, memory and disk together; nil: nothing does.
  private func halfOptions(_ kind: SystemKind) -> [String]? {
    let half = bytes / 2
    switch kind {
    case .plain, .s3fs, .ordinary: return nil
    case .millrace, .plainPath:
      return [
        "--memory-limit", "\(Self.memoryLimit)", "--cache-size", "\(half - Self.memoryLimit)",
      ]
    // By default rclone checks the size of its cache once a minute.
    case .rclone: return ["--vfs-cache-max-size", "\(half)B", "--vfs-cache-poll-interval", "1s"]
    case .juicefs: return ["--cache-size", "\(half >> 20)"]
    }
  }

  // MARK: What fill costs those who wait

  /// An object that exists in name only, beside the folders of the loop.
  private static let object = "object.bin"
  private static let reads = 150
  /// Opened to start the fill.
  private static let first = 40

  /// One reader of scattered 128 KiB in one file: alone, and while the rest of the data set is filled.
  private func fillCost(_ kind: SystemKind, _ results: inout TrainingResults) throws {
    var waits: [Double] = []
    for fill in ["off", "auto"] {
      let cache = try newCache()
      let options = ["--prefetch", fill, "--prefetch-budget", "1000"]
      waits.append(
        try withMount(kind, cache, options) { mount in
          for index in 0..<Self.first {
            let folder = "\(mount.path)/class-\(padded(index % 20, 3))"
            _ = try readFile("\(folder)/\(padded(index, 6)).file")
          }
          let said = try CommandResult.check(
            [
              Checkout.beside("MillraceBench"), "read", "--mode", "pread", "--size", "131072",
              "--count", "\(Self.reads)", mount.path + "/" + Self.object,
            ], within: .seconds(120)
          ).output
          if fill != "off" { try check(mount, isStillFilling: kind) }
          return (Double(said.split(separator: " ")[0]) ?? 0) / Double(Self.reads)
        })
    }
    results.addFillCost(kind, alone: waits[0], during: waits[1])
  }

  /// A fill that ended before the reader did would have cost him nothing.
  private func check(_ mount: MountedSystem, isStillFilling kind: SystemKind) throws {
    let said = try CommandResult.check([Checkout.millrace(), "stats", mount.path, "--json"]).output
    let filled = try MountStats(json: said).number("backgroundFiles")
    say("  filled meanwhile: \(filled) of \(files) files")
    guard filled > 0, filled < files - Self.first else {
      throw SupportError("the fill ended too early to tell what it costs")
    }
  }

  /// Kept to the end of the stage: ext4 searches long for an inode while many were freed a minute ago, and the
  /// next system would pay for that.
  private func newCache() throws -> String {
    mounts += 1
    return try scratch.folder("cache-\(mounts)")
  }

  private func warmProgram(_ kind: SystemKind) {
    guard let program = try? mounter.program(kind) else { return }
    _ = try? CommandResult.run([program, "--version"])
  }

  private func withMount<Value>(
    _ kind: SystemKind, _ cache: String, _ options: [String],
    _ body: (MountedSystem) throws -> Value
  ) throws -> Value {
    let place = try scratch.folder("mnt")
    let mount = try mounter.mount(kind, server: server, at: place, cache: cache, options: options)
    do {
      let value = try body(mount)
      try mount.unmount()
      return value
    } catch {
      try? mount.unmount()
      Mounts.detach(place)
      throw error
    }
  }

  private func run(
    _ kind: SystemKind, epochs: Int, order: Trainer.Order = .none, options: [String] = []
  ) throws -> [TrainingResults.Epoch] {
    let cache = try newCache()
    Machine.warmMemory(1 << 30)
    Machine.dropPageCache()
    // What is timed is the mount's work, and not the reading of its program from disk.
    warmProgram(kind)
    _ = cage?.takeSeen()
    try server.reset()
    let began = Instant.now
    return try withMount(kind, cache, options) { mount in
      var fetched: [Int] = []
      let ran = try trainer.run(
        mount.path, epochs: epochs, order: order, seed: seed, since: began
      ) { _ in fetched.append(try server.statistics().bytes) }
      let cached = cage?.takeSeen().median ?? 0
      return ran.enumerated().map { index, epoch in
        TrainingResults.Epoch(
          epoch,
          fetched: Double(fetched[index] - (index > 0 ? fetched[index - 1] : 0)) / Double(bytes),
          pageCache: cached)
      }
    }
  }
}

import Glibc
import Posix
import TestSupport

/// The files of one training loop, their server behind the s3 link, the loop itself and its systems.
final class TrainingStage {
  let shape: TrainingShape
  let kinds: [SystemKind]
  let bytes: Int
  private let scratch: TemporaryFolder
  private let memory: TemporaryFolder
  private let server: LinkProcess
  private let cage: PageCacheCage?
  private let trainer: Trainer
  private var mounter: Mounter
  private var mounts = 0
  private var seed = 0

  /// Of the daemon, in runs whose cache holds half of the files; the rest of the half is disk.
  static let memoryLimit = 64 << 20

  init(_ shape: TrainingShape, kinds: [SystemKind], cage: PageCacheCage?, isQuick: Bool) throws {
    self.shape = shape
    self.cage = cage
    scratch = try TemporaryFolder("training")
    memory = try TemporaryFolder("training", in: access("/dev/shm", W_OK) == 0 ? "/dev/shm" : nil)
    let tree = try scratch.folder("tree")
    try CommandResult.check(
      [
        VirtualEnvironment.shared().python, Checkout.tools + "/training.py", "make", shape.loop,
        tree, "\(shape.files(isQuick: isQuick))",
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
    server = try LinkProcess("s3", folder: buckets, log: scratch.path("link"))
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
      } catch let error as SupportError {
        say("  \(kind.rawValue): \(error)")
      }
    }
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
    // It looks at its cache's size once a minute unless told.
    case .rclone: return ["--vfs-cache-max-size", "\(half)", "--vfs-cache-poll-interval", "1s"]
    case .juicefs: return ["--cache-size", "\(half >> 20)"]
    }
  }

  private func run(
    _ kind: SystemKind, epochs: Int, order: Trainer.Order = .none, options: [String] = []
  ) throws -> [TrainingResults.Epoch] {
    mounts += 1
    let cache = try scratch.folder("cache-\(mounts)")
    let place = try scratch.folder("mnt")
    defer { removeTree(cache) }
    Machine.warmMemory(1 << 30)
    Machine.dropPageCache()
    _ = cage?.takeSeen()
    try server.reset()
    let began = Instant.now
    let mount = try mounter.mount(kind, server: server, at: place, cache: cache, options: options)
    do {
      var fetched: [Int] = []
      let ran = try trainer.run(
        mount.path, epochs: epochs, order: order, seed: seed, since: began
      ) { _ in fetched.append(try server.statistics().bytes) }
      try mount.unmount()
      let cached = cage?.takeSeen().median ?? 0
      return ran.enumerated().map { index, epoch in
        TrainingResults.Epoch(
          epoch,
          fetched: Double(fetched[index] - (index > 0 ? fetched[index - 1] : 0))
            / Double(bytes), pageCache: cached)
      }
    } catch {
      try? mount.unmount()
      Mounts.detach(place)
      throw error
    }
  }
}

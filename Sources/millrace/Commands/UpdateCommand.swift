import ArgumentParser
import Control
import FileSystem
import Glibc
import Posix

struct UpdateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "update",
    abstract:
      "List the known directories below PATH again, print what changed, and update the mount.",
    discussion: """
      Prints a line for each file: + added, ~ changed, - removed. With --warm the added and changed files are \
      fetched into the cache, and nothing else.
      """)

  @Argument(help: "A mount point, or a directory below one.", completion: .directory)
  var path: String
  @Flag(help: "Fetch added and changed files into the cache.") var warm = false
  @Option(help: "Files fetched in parallel with --warm, 1 to 256.") var jobs = 8
  @Flag(help: "Print the whole report as JSON.") var json = false

  func validate() throws {
    if !(1...256).contains(jobs) { throw ValidationError("--jobs: expected 1 to 256") }
  }

  func run() throws {
    let mount = try LiveMount(holding: path)
    let began = Instant.now
    let report: UpdateReport
    do {
      let answer = try ControlClient.update(mount.relative, socket: mount.daemon.socket)
      report = answer.report
      if json { Output.json(answer.json) }
    } catch {
      throw Failure("\(error)")
    }
    let isRefused = report.directories == 0 && !report.failures.isEmpty
    if !json && !isRefused { show(report, seconds: (Instant.now - began).seconds) }
    let failed = warm ? warmUp(report, below: mount.mountPoint) : 0
    for failure in report.failures { Millrace.complain(failure) }
    if failed > 0 || !report.failures.isEmpty { throw ExitCode(1) }
  }

  private func show(_ report: UpdateReport, seconds: Double) {
    for change in report.changes.sorted(by: { $0.path < $1.path }) {
      let mark =
        switch change.kind {
        case .added: "+"
        case .changed: "~"
        case .removed: "-"
        }
      Output.line("\(mark) \(change.path)\(change.size.map { " (\(ByteSize.show($0)))" } ?? "")")
    }
    let kept = report.added + report.changed + report.removed
    if kept > report.changes.count { Output.line("... and \(kept - report.changes.count) more") }
    Output.line(
      "\(counted(report.added, "file")) added, \(report.changed) changed, \(report.removed) removed in "
        + "\(counted(report.directories, "directory", "directories")), \(Int(seconds * 1000)) ms")
    if report.directories == 0 {
      Output.line("no directory below \(path) is cached yet: it is listed on first access")
    }
  }

  /// Reads files through the mount. Returns how many could not be read.
  private func warmUp(_ report: UpdateReport, below mountPoint: String) -> Int {
    let began = Instant.now
    let queue = Lock(report.changes.filter { $0.kind != .removed }[...])
    let totals = Lock((files: 0, bytes: UInt64(0), failures: 0))
    let work: @Sendable () -> Void = {
      while let next = queue.withLock({ $0.popFirst() }) {
        let path = mountPoint + "/" + next.path
        let bytes = UpdateCommand.readAll(path)
        if bytes == nil { Millrace.complain("cannot read \(path): \(systemMessage())") }
        totals.withLock { totals in
          totals.files += bytes == nil ? 0 : 1
          totals.bytes += bytes ?? 0
          totals.failures += bytes == nil ? 1 : 0
        }
      }
    }
    // With fewer where the machine gives no more; this thread is one of them.
    let workers = (1..<jobs).compactMap { try? Thread.start(named: "warm-\($0)", work) }
    work()
    for worker in workers { worker.join() }
    let (files, bytes, failures) = totals.withLock { $0 }
    if !json {
      let seconds = max((Instant.now - began).seconds, 0.001)
      Output.line(
        "Warmed \(counted(files, "file")), \(ByteSize.show(bytes)), "
          + "\(ByteSize.show(UInt64(saturating: Double(bytes) / seconds)))/s"
          + (failures > 0 ? "; \(failures) failed" : ""))
    }
    return failures
  }

  private static func readAll(_ path: String) -> UInt64? {
    guard let file = try? OwnedDescriptor.open(path, O_RDONLY) else { return nil }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
    defer { buffer.deallocate() }
    var total: UInt64 = 0
    while true {
      let count = read(file.raw, buffer.baseAddress, buffer.count)
      if count < 0 { return nil }
      if count == 0 { return total }
      total += UInt64(count)
    }
  }
}

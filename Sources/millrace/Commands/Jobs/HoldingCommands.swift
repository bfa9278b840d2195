import ArgumentParser
import Glibc
import Posix
import Prefetch

struct PinCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pin",
    abstract: "Pin files in the cache: they are never evicted, by this mount or a later one.",
    discussion: """
      A pin applies to the current version of a file, to what is cached of it now and later; nothing is fetched \
      (see warm). Run pin again after files have changed or were added; this replaces the old pin.
      """)

  @Argument(help: "Files or directories.") var paths: [String]

  func run() throws {
    let run = try JobRun(.pin, paths)
    let report = try run().report
    Output.line("Pinned \(counted(report.filesDone, "file")), \(report.filesChanged) of them newly")
    try run.end(report)
  }
}

struct UnpinCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "unpin", abstract: "Unpin files: they may be evicted again.",
    discussion: """
      Unpins every version of the given paths. On the root of a bucket mount this also unpins objects deleted from \
      the store.
      """)

  @Argument(help: "Files or directories.") var paths: [String]

  func run() throws {
    let run = try JobRun(.unpin, paths)
    let report = try run().report
    Output.line("Unpinned \(counted(report.filesChanged, "file")) of \(report.filesDone)")
    try run.end(report)
  }
}

struct EvictCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evict",
    abstract: "Evict files from the cache, on disk and in memory.",
    discussion: "Open or pinned files are not evicted and count as failures (exit code 1).")

  @Argument(help: "Files or directories.") var paths: [String]

  func run() throws {
    let run = try JobRun(.evict, paths)
    let report = try run().report
    Output.line(
      "Evicted \(counted(report.filesChanged, "file")) of \(report.filesDone), "
        + "\(ByteSize.show(report.bytesFreed)) freed")
    try run.end(report)
  }
}

struct DuCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "du",
    abstract: "Show how much of a directory is cached: in memory, on disk, pinned.")

  @Argument(help: "Files or directories.") var paths: [String]
  @Flag(help: "Print JSON.") var json = false

  func run() throws {
    let run = try JobRun(.du, paths)
    let (report, answer) = try run()
    if json { Output.json(answer) } else { Output.lines(Self.table(report)) }
    try run.end(report)
  }

  static func table(_ report: JobReport) -> [String] {
    func row(_ name: String, _ bytes: UInt64, _ files: Int?) -> String {
      let share =
        report.bytes == 0
        ? 0 : Int(saturating: (Double(bytes) / Double(report.bytes) * 100).rounded())
      let cells = [
        name, ByteSize.show(bytes), "\(share) %", files.map { counted($0, "file") } ?? "",
      ]
      let line = zip(cells, [12, 10, 5, 0]).map { cell, width in
        cell + String(repeating: " ", count: max(width - cell.count, 0))
      }.joined(separator: "  ")
      return String(line.reversed().drop { $0 == " " }.reversed())
    }
    return [
      row("all", report.bytes, report.files),
      row("in memory", report.bytesInMemory, nil),
      row("on disk", report.bytesOnDisk, report.filesOnDisk),
      row("pinned", report.bytesPinned, report.filesPinned),
    ]
  }
}

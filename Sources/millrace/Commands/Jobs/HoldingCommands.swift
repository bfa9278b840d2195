import ArgumentParser
import Glibc
import Posix
import Prefetch

struct PinCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pin",
    abstract: "Keep files in the cache: they are never evicted, at this mount or the next.",
    discussion: """
      It holds for what is cached of them now and for what comes; nothing is fetched (see warm). A file
      that changes in the store, or is added later, is not pinned until it is pinned again, which lets go
      of the version before.
      """)

  @Argument(help: "Files, or folders with all below them.") var paths: [String]

  func run() throws {
    let run = try JobRun(.pin, paths)
    let report = try run().report
    Output.line("Pinned \(counted(report.filesDone, "file")), \(report.filesChanged) of them newly")
    try run.end(report)
  }
}

struct UnpinCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "unpin", abstract: "Let files be evicted again.",
    discussion: """
      Whichever version of them is pinned. Of a whole mount of a whole bucket: all there is, also of what
      is no longer in the store.
      """)

  @Argument(help: "Files, or folders with all below them.") var paths: [String]

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
    abstract: "Drop files from the cache, on disk and in memory.",
    discussion: "Files that are open or pinned stay, and are told as failures.")

  @Argument(help: "Files, or folders with all below them.") var paths: [String]

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
    commandName: "du", abstract: "What of a folder is in memory, on disk, pinned.")

  @Argument(help: "Files, or folders with all below them.") var paths: [String]
  @Flag(help: "As JSON.") var json = false

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

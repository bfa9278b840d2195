import ArgumentParser
import Glibc
import Posix
import Prefetch

struct WarmCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "warm",
    abstract: "Warm the cache: fetch files before they are read.",
    discussion: """
      Cached files are skipped, so an interrupted run continues where it stopped. Files that were used before this \
      run are evicted if the cache is full, unless they are open or pinned. Files that failed are listed at the \
      end, with exit code 1.

      Examples:
        millrace warm /mnt/data/train
        millrace warm /mnt/data --list epoch-1.txt --order
      """, aliases: ["warmup"])

  @Argument(help: "Files or directories, mount points included.") var paths: [String]
  @Option(help: "A file with one path a line, relative to PATH; - is standard input.")
  var list: String?
  @Flag(
    help:
      "With --list: the files are read in this order; those that do not fit are prefetched as the order is read."
  )
  var order = false
  @Flag(help: "Also verify cached files against their checksums, and fetch corrupt ones again.")
  var verify = false
  @Option(help: "Files fetched in parallel, 1 to 256.") var jobs = JobRequest.usualWidth
  @Flag(help: "Print the report as JSON, without a progress bar.") var json = false

  func validate() throws {
    if !(1...JobRequest.mostWidth).contains(jobs) {
      throw ValidationError("--jobs: expected 1 to 256")
    }
    if order, list == nil { throw ValidationError("--order needs --list") }
    if list != nil, paths.count != 1 {
      throw ValidationError("--list needs exactly one PATH, to which its lines are relative")
    }
  }

  func run() throws {
    var run = try JobRun(.warm, paths)
    run.request.width = jobs
    run.request.verifies = verify
    run.request.isOrder = order
    if let list {
      run.request.paths = try PathList.read(list, below: run.mount)
      if run.request.paths.isEmpty { throw Failure("\(list): it contains no path") }
    }
    let bar = json ? nil : ProgressBar()
    if let bar { run.progress = { bar.show($0) } }
    let (report, answer) = try run()
    bar?.clear()
    if json { Output.json(answer) } else { Output.lines(Self.summary(report)) }
    try run.end(report)
  }

  static func summary(_ report: JobReport) -> [String] {
    let rate = UInt64(saturating: Double(report.bytesFetched) / max(report.seconds, 0.001))
    let cached = report.bytesDone.subtractingSaturated(report.bytesFetched)
    var lines = [
      "Warmed \(counted(report.filesDone, "file")), \(ByteSize.show(report.bytesDone)): "
        + "\(counted(report.filesFetched, "file")), \(ByteSize.show(report.bytesFetched)) fetched in "
        + "\(Figure.duration(report.seconds)), \(ByteSize.show(rate))/s"
        + (cached > 0 ? "; \(ByteSize.show(cached)) already cached" : "")
    ]
    if report.bytesDropped > 0 {
      lines.append(
        "\(ByteSize.show(report.bytesDropped)) on disk failed verification and were fetched again")
    }
    if report.filesLeft > 0 {
      lines.append(
        "\(counted(report.filesLeft, "file")) did not fit in the cache; they are prefetched as the order is read"
      )
    }
    if report.failures > 0 { lines.append("\(counted(report.failures, "failure")):") }
    return lines
  }
}

/// Lines of a list as paths of a mount.
enum PathList {
  private static let limit = 512 << 20

  /// A file, or "-", the standard input.
  static func bytes(of path: String) throws -> [UInt8] {
    let input = path == "-" ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC)
    guard input >= 0 else { throw Failure("\(path): \(systemMessage())") }
    defer { if path != "-" { close(input) } }
    var text: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    while true {
      let count = Glibc.read(input, &buffer, buffer.count)
      if count < 0 { throw Failure("\(path): \(systemMessage())") }
      if count == 0 { break }
      text += buffer[..<count]
      guard text.count <= limit else { throw Failure("\(path): more than 512 MiB of paths") }
    }
    return text
  }

  /// Those that are not empty.
  static func lines(of text: [UInt8]) -> [ArraySlice<UInt8>] {
    text.split(whereSeparator: { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") })
  }

  static func read(_ path: String, below mount: LiveMount) throws -> [[UInt8]] {
    let top = Array(mount.mountPoint.utf8) + [UInt8(ascii: "/")]
    let prefix = mount.relative.isEmpty ? [] : mount.relative + [UInt8(ascii: "/")]
    return lines(of: try bytes(of: path)).map {
      if $0.starts(with: top) { return Array($0.dropFirst(top.count)) }
      return prefix + ($0.starts(with: "./".utf8) ? $0.dropFirst(2) : $0)
    }
  }
}

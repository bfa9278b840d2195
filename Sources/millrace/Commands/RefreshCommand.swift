import ArgumentParser
import Control

struct RefreshCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "refresh",
    abstract: "Drop the cached metadata of PATH and everything below it.",
    discussion: """
      The next access lists the store again; nothing is listed now (see update). Cached data stays: it is used as \
      long as its object is unchanged.
      """, aliases: ["forget"])

  @Argument(help: "A mount point, or a path below one.", completion: .directory) var path: String

  func run() throws {
    let mount = try LiveMount(holding: path)
    do {
      let report = try ControlClient.refresh(mount.relative, socket: mount.daemon.socket)
      Output.line(
        "Forgot the listings of \(counted(report.directories, "directory", "directories")) under \(path)"
      )
    } catch {
      throw Failure("\(error)")
    }
  }
}

/// "1 file", "1,234 files"; `plural` where that is not the noun and an "s".
func counted(_ count: Int, _ noun: String, _ plural: String? = nil) -> String {
  "\(Figure.count(count)) \(count == 1 ? noun : plural ?? noun + "s")"
}

import ArgumentParser
import Control

struct RefreshCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "refresh",
    abstract: "Forget the names and attributes known of PATH and all below it.",
    discussion: """
      Whoever looks next is told what the store has then. Nothing is listed now (see update), and
      cached data stays: it is used as long as its object is the same.
      """)

  @Argument(help: "A mount point, or a path below one.") var path: String

  func run() throws {
    let mount = try LiveMount(holding: path)
    do {
      let report = try ControlClient.refresh(mount.relative, socket: mount.daemon.socket)
      Output.line("Forgot the listings of \(counted(report.folders, "folder")) under \(path)")
    } catch {
      throw Failure("\(error)")
    }
  }
}

/// "1 folder", "1,234 folders".
func counted(_ count: Int, _ noun: String) -> String {
  var digits = ""
  for (index, digit) in String(count).reversed().enumerated() {
    if index > 0 && index % 3 == 0 { digits.append(",") }
    digits.append(digit)
  }
  return "\(String(digits.reversed())) \(noun)\(count == 1 ? "" : "s")"
}

import ArgumentParser
import Control

struct StatsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stats", abstract: "Show where a mount's bytes came from.")

  @Argument(help: "Where it is mounted.") var mountpoint: String
  @Flag(help: "Everything that is counted, as JSON.") var json = false

  func run() throws {
    let mount = try LiveMount(holding: mountpoint)
    do {
      let answer = try ControlClient.stats(socket: mount.daemon.socket)
      if json {
        Output.json(answer)
      } else {
        Output.lines(StatsTable.lines(try ControlClient.decode(answer)))
      }
    } catch {
      throw Failure("\(error)")
    }
  }
}

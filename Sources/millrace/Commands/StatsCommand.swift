import ArgumentParser
import Control
import Glibc

struct StatsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stats", abstract: "Show where a mount's bytes came from.")

  @Argument(help: "Where it is mounted.") var mountpoint: String
  @Flag(help: "Everything that is counted, as JSON.") var json = false

  func run() throws {
    let mount = try LiveMount(holding: mountpoint)
    do {
      let answer = try ControlClient.stats(socket: mount.daemon.socket)
      print(
        json
          ? String(decoding: answer, as: UTF8.self)
          : StatsTable.text(try ControlClient.decode(answer)))
      fflush(nil)
    } catch {
      throw Failure("\(error)")
    }
  }
}

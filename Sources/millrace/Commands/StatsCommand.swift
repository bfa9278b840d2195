import ArgumentParser
import Control

struct StatsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stats",
    abstract: "Show what served a mount's reads, what they waited for, and the cache's hit ratio.",
    discussion: """
      Served: bytes by tier. Bytes that the kernel reads from the cache by passthrough are counted by the \
      sizes of the files opened. Waiting: the share of their time that processes waited for this mount, by \
      cause; millrace top shows it for each process.
      """)

  @Argument(help: "The mount point.") var mountpoint: String
  @Flag(help: "All sections, not only the first lines.") var all = false
  @Flag(help: "Print all counters as JSON.") var json = false

  func run() throws {
    let mount = try LiveMount(holding: mountpoint)
    do {
      let response = try ControlClient.stats(socket: mount.daemon.socket)
      if json { return Output.json(response) }
      let report = try ControlClient.decode(response)
      Output.lines(StatsTable.lines(report) + (all ? StatsDetails.lines(report) : []))
    } catch {
      throw Failure("\(error)")
    }
  }
}

import ArgumentParser

struct UnmountCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "unmount", abstract: "Unmount, and wait for the daemon to end.",
    aliases: ["umount"])

  @Argument(help: "Where it is mounted.") var mountpoint: String
  @Flag(help: "Detach a busy mount, and end a daemon that does not end.") var force = false
  @Option(help: "How long to wait for the daemon.") var timeout: String = "30s"

  func run() throws {
    guard let patience = TimeText.parse(timeout) else {
      throw Failure.usage("--timeout '\(timeout)': expected a time such as 30s")
    }
    try Unmounter.unmount(
      mountpoint, force: force, timeout: patience, environment: processEnvironment())
  }
}

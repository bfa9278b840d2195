import ArgumentParser

struct UnmountCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "unmount", abstract: "Unmount, and wait until the daemon has exited.",
    aliases: ["umount"])

  @Argument(help: "A mount point.", completion: .directory) var mountpoint: String
  @Flag(help: "Detach a busy mount, and kill a daemon that does not exit.") var force = false
  @Option(help: ArgumentHelp("Time to wait for the daemon.", valueName: "time")) var timeout:
    String = "30s"

  func run() throws {
    guard let patience = TimeText.parse(timeout) else {
      throw Failure.usage("--timeout '\(timeout)': expected a time such as 30s")
    }
    try Unmounter.unmount(
      mountpoint, force: force, timeout: patience, environment: processEnvironment())
  }
}

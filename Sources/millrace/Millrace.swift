/// The command line. It reads options, joins the rooms to a mount and tells people how it went;
/// docs/command-line.md says what every command prints.
import ArgumentParser
import Glibc

@main
struct Millrace: ParsableCommand {
  static let version = "0.1.0"

  static let configuration = CommandConfiguration(
    commandName: "millrace",
    abstract: "Mounts a bucket, a web site or a folder, with a cache on this machine's disk.",
    discussion: """
      Examples:
        millrace mount s3://bucket/prefix /mnt/data
        millrace mount --endpoint-url http://host:9000 s3://data /mnt/data
        millrace run s3://bucket /mnt/data -- python train.py --data /mnt/data
        millrace stats /mnt/data
        millrace doctor s3://bucket
        millrace unmount /mnt/data
      """,
    version: version,
    subcommands: [
      MountCommand.self, UnmountCommand.self, RunCommand.self, StatsCommand.self, TopCommand.self,
      OrderCommand.self, WarmCommand.self, PinCommand.self, UnpinCommand.self, EvictCommand.self,
      DuCommand.self, RefreshCommand.self, UpdateCommand.self, SnapshotCommand.self,
      DoctorCommand.self,
    ])

  static func main() {
    signal(SIGPIPE, SIG_IGN)
    // A limit on file sizes (ulimit -f) is an error of one write and no end of the process.
    signal(SIGXFSZ, SIG_IGN)
    do {
      ArgumentHandOver.hideOwn()
      let arguments = ArgumentHandOver.read() ?? Array(CommandLine.arguments.dropFirst())
      var command = try parseAsRoot(arguments)
      try command.run()
      Glibc.exit(0)
    } catch {
      Glibc.exit(report(error))
    }
  }

  /// One line on standard error; help and version on standard output.
  private static func report(_ error: any Error) -> Int32 {
    if let failure = error as? Failure {
      complain(failure.description)
      return failure.code
    }
    if let code = error as? ExitCode { return code.rawValue }
    if exitCode(for: error) == .success {
      Output.lines(
        fullMessage(for: error).split(separator: "\n", omittingEmptySubsequences: false).map(
          String.init))
      return 0
    }
    complain("\(message(for: error)) (see millrace --help)")
    return 2
  }

  static func complain(_ text: String) { Output.complain(text) }
}

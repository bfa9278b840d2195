/// The command line. It reads options, joins the modules to a mount and reports the outcome;
/// docs/command-line.md says what every command prints.
import ArgumentParser
import Glibc

@main
struct Millrace: ParsableCommand {
  static let version = "0.1.0"

  static let configuration = CommandConfiguration(
    commandName: "millrace",
    abstract:
      "Mounts a bucket, a web site, a Hugging Face repository or a directory, with a cache on a local disk.",
    discussion: """
      Examples:
        millrace mount s3://bucket/prefix /mnt/data
        millrace mount --endpoint-url http://host:9000 s3://data /mnt/data
        millrace run s3://bucket /mnt/data -- python train.py --data /mnt/data
        millrace stats /mnt/data
        millrace list
        millrace doctor s3://bucket
        millrace unmount /mnt/data

      Exit codes: 0 done, 1 other failures, 2 usage, 3 source not found, 4 access denied or no credentials, \
      5 store unreachable or throttled (retry), 6 FUSE or mount point.
      """,
    version: version,
    subcommands: [
      MountCommand.self, UnmountCommand.self, RunCommand.self, ListCommand.self,
      StatsCommand.self, TopCommand.self, OrderCommand.self, WarmCommand.self, PinCommand.self,
      UnpinCommand.self, EvictCommand.self, DuCommand.self, RefreshCommand.self,
      UpdateCommand.self, SnapshotCommand.self, ExporterCommand.self, DoctorCommand.self,
    ])

  static func main() {
    signal(SIGPIPE, SIG_IGN)
    // A limit on file sizes (ulimit -f) is an error of one write and no end of the process.
    signal(SIGXFSZ, SIG_IGN)
    ArgumentHandOver.hideOwn()
    let arguments = ArgumentHandOver.read() ?? Array(CommandLine.arguments.dropFirst())
    do {
      try CommandWords.check(arguments)
      var command = try parseAsRoot(try PeerHabits.applied(to: arguments))
      try command.run()
      Glibc.exit(0)
    } catch {
      Glibc.exit(report(error, arguments))
    }
  }

  /// One line on standard error; help and version on standard output.
  private static func report(_ error: any Error, _ arguments: [String]) -> Int32 {
    let isRun = arguments.first == "run"
    if let failure = error as? Failure {
      complain(failure.description)
      return isRun ? ExitStatus.runItself.rawValue : failure.code
    }
    if let code = error as? ExitCode { return code.rawValue }
    if exitCode(for: error) == .success {
      Output.lines(
        fullMessage(for: error).split(separator: "\n", omittingEmptySubsequences: false).map(
          String.init))
      return 0
    }
    complain(CommandWords.advised(message(for: error), arguments))
    return (isRun ? ExitStatus.runItself : .usage).rawValue
  }

  static func complain(_ text: String) { Output.complain(text) }
}

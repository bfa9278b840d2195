import ArgumentParser
import Glibc

struct MountCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mount", abstract: "Mount SOURCE at MOUNTPOINT.",
    discussion: """
      Each option is also an environment variable: --cache-size is MILLRACE_CACHE_SIZE.

      Examples:
        millrace mount s3://bucket/prefix /mnt/data
        millrace mount file:///nfs/images /mnt/images --memory-limit 1G
      """)

  @Argument(help: "s3://BUCKET[/PREFIX], http(s)://HOST/PATH/ or file:///DIR.") var source: String
  @Argument(help: "An empty folder.") var mountpoint: String
  @Flag(help: "Stay, and log to standard error.") var foreground = false
  @OptionGroup var options: SharedOptions

  func run() throws {
    let environment = processEnvironment()
    let announcer = Announcer(environment)
    do {
      let settings = try Settings(source: source, options: options, environment: environment)
      let stays = try OptionValues(environment: environment).flag("foreground", foreground)
      if announcer.isDaemon || stays {
        try MountSession(settings: settings, mountPoint: mountpoint, announcer: announcer).run()
        return
      }
    } catch {
      let failure = Failure(error)
      announcer.failed(failure)
      throw failure
    }
    let daemon = try Launcher.start(Array(CommandLine.arguments.dropFirst()), withLifeline: false)
    Output.line(daemon.line)
  }
}

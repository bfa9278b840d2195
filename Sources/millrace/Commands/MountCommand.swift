import ArgumentParser
import Glibc

struct MountCommand: ParsableCommand, OptionGroups {
  static let configuration = CommandConfiguration(
    commandName: "mount", abstract: "Mount SOURCE at MOUNTPOINT.",
    usage: "millrace mount SOURCE MOUNTPOINT [options]",
    discussion: """
      Each option is also an environment variable: --cache-size is MILLRACE_CACHE_SIZE. \
      -o takes options as mount(8) does: -o allow_other,cache_dir=/mnt/nvme/cache.

      Examples:
        millrace mount s3://bucket/prefix /mnt/data
        millrace mount s3://data /mnt/data --endpoint-url http://host:9000
        millrace mount file:///nfs/images /mnt/images --memory-limit 1G
      """)

  @Argument(help: "\(SourceAddress.forms)") var source: String
  @Argument(help: "An empty directory.", completion: .directory) var mountpoint: String
  @Flag(name: [.long, .customShort("f")], help: "Stay in the foreground; log to standard error.")
  var foreground = false
  @OptionGroup(title: "Common options") var cacheDirectory: CacheDirectoryOption
  @OptionGroup(title: "Common options") var common: CommonOptions
  @OptionGroup(title: "Common options") var commonOfMount: CommonMountOptions
  @OptionGroup(title: "Source options") var tree: TreeOptions
  @OptionGroup(title: "Bucket options") var bucket: BucketOptions
  @OptionGroup(title: "TLS and authentication of web sites") var site: SiteOptions
  @OptionGroup(title: "Network limits") var network: NetworkOptions
  @OptionGroup(title: "Cache and memory") var cache: CacheOptions
  @OptionGroup(title: "Prefetch") var prefetch: PrefetchOptionTexts
  @OptionGroup(title: "Mount options") var mount: MountPointOptions
  @OptionGroup(title: "Logging") var logging: LoggingOptions

  func run() throws {
    let environment = processEnvironment()
    let announcer = Announcer(environment)
    let settings: Settings
    do {
      settings = try Settings(
        source: source, options: options,
        environment: environment)
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
    settings.printWarnings()
    let daemon = try Launcher.start(Array(CommandLine.arguments.dropFirst()), withLifeline: false)
    Output.line(daemon.line)
    if let cache = settings.cache.folder.flatMap(realPath),
      let warning = CacheDisk.current(of: cache)?.warning
    {
      Output.complain("warning: \(warning)")
    }
    if geteuid() == 0, !settings.presentation.allowOther {
      Output.line(
        "Only root can read it; mount with --allow-other to let other users read it too")
    }
  }
}

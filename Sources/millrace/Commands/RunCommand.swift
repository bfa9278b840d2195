import ArgumentParser
import Glibc
import Posix

struct RunCommand: ParsableCommand, OptionGroups {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Mount, run a command, unmount when it ends.",
    usage: "millrace run SOURCE MOUNTPOINT [options] -- COMMAND...",
    discussion: """
      Exits with the command's code, with 125 if it failed before the command was started. A mount point that is \
      missing is created, and removed again.

      Example:
        millrace run s3://bucket /mnt/data -- python train.py --data /mnt/data
      """)

  @Argument(help: "\(SourceAddress.forms)") var source: String
  @Argument(help: "An empty or missing directory.", completion: .directory) var mountpoint: String
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
  @Argument(parsing: .postTerminator, help: "The command to run, after --.") var command: [String] =
    []

  func run() throws {
    guard !command.isEmpty else {
      throw Failure.usage(
        "no command after --; millrace run SOURCE MOUNTPOINT [options] -- COMMAND...")
    }
    let settings = try Settings(
      source: source, options: options,
      environment: processEnvironment())
    settings.printWarnings()
    let isNew = mkdir(mountpoint, 0o755) == 0
    defer { if isNew { rmdir(mountpoint) } }
    // Blocked from here on: they are for the command.
    var signals = RunCommand.signals()
    pthread_sigmask(SIG_BLOCK, &signals, nil)
    let arguments = CommandLine.arguments.dropFirst().prefix { $0 != "--" }.drop { $0 != "run" }
    let daemon = try Launcher.start(["mount"] + arguments.dropFirst(), withLifeline: true)
    var code: Int32
    do throws(Failure) {
      code = supervise(try Subprocess.start(command))
    } catch {
      Millrace.complain(error.description)
      code = error.code
    }
    if !end(daemon) {
      Millrace.complain("the daemon of \(mountpoint) ended before the command did; see its log")
      if code == 0 { code = 1 }
    }
    if isNew { rmdir(mountpoint) }
    throw ExitCode(code)
  }

  private static func signals() -> sigset_t {
    var set = sigset_t()
    sigemptyset(&set)
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCHLD] {
      sigaddset(&set, signal)
    }
    return set
  }

  /// Forwards signals until the command has ended.
  private func supervise(_ child: Subprocess) -> Int32 {
    var set = RunCommand.signals()
    while true {
      if let code = child.poll() { return code }
      var info = siginfo_t()
      let number = sigwaitinfo(&set, &info)
      // SI_KERNEL: typed at the terminal, whose whole foreground group has had it.
      if number > 0, number != SIGCHLD, info.si_code != 0x80 { kill(child.pid, number) }
    }
  }

  /// The daemon unmounts (detached, if a process of the command's stayed behind) and ends. False: it
  /// had ended by itself, or not as asked; what it left is taken away.
  private func end(_ daemon: Launcher.Daemon) -> Bool {
    let wasAlive = daemon.child.poll() == nil
    close(daemon.lifeline)
    defer { detachWhatIsLeft() }
    guard wasAlive else { return false }
    let deadline = Instant.now + .seconds(30)
    while Instant.now < deadline {
      // A daemon that was killed may take a moment to be gone: what it ended with tells it from
      // one that ended as it was asked to.
      if let code = daemon.child.poll() { return code == 0 }
      usleep(2_000)
    }
    kill(daemon.child.pid, SIGKILL)
    _ = daemon.child.wait()
    return true
  }

  /// A mount whose daemon has ended answers no request.
  private func detachWhatIsLeft() {
    guard let place = pathThroughParent(mountpoint),
      MountInfo.current().topmost(at: place)?.isOurs == true
    else { return }
    _ = Unmounter.detach(place, lazily: true)
  }
}

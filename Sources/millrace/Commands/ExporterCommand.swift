import ArgumentParser
import Control
import Glibc
import Posix
import SystemPackage

struct ExporterCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "exporter",
    abstract: "Serve the metrics of this node's mounts to Prometheus, until it is ended.",
    discussion: """
      All mounts of this user, as root of all users, at http://ADDRESS/metrics; mounts that come and go are followed. \
      A mount whose daemon does not respond within 1 s is left out and has millrace_mount_up 0. Nothing can be \
      changed through it. There is no authentication: all users and hosts that reach the address can read the \
      mount points and the sources of all mounts that it serves, and with --processes the names of processes.
      """)

  @Option(
    help: ArgumentHelp(
      "Address and port to listen on. There is no authentication: with an address other than 127.0.0.1, other hosts "
        + "can read the metrics.", valueName: "address"))
  var listen = ListenAddress(host: "127.0.0.1", port: 9464)

  @Flag(help: "Also serve the metrics that name processes: millrace_process_*.")
  var processes = false

  func run() throws {
    let exporter: MetricsExporter
    do throws(Errno) {
      exporter = try MetricsExporter(processes: processes) { ExporterCommand.mounts() }
    } catch {
      throw Failure("cannot start the exporter: \(error); \(error.limitAdvice)")
    }
    defer { exporter.stop() }
    let outcome = Monitor<Outcome?>(nil)
    exporter.start(
      host: listen.host, port: listen.port,
      listens: { port in outcome.signal { $0 = .listens(port) } },
      failed: { reason in outcome.signal { $0 = .failed(reason) } })
    switch outcome.wait(for: { $0 }) {
    case .listens(let port):
      let address = ListenAddress(host: listen.host, port: port)
      Output.line("Serving http://\(address)/metrics")
      Output.flush()
    case .failed(let reason): throw Failure("\(reason); choose another --listen")
    case nil: break
    }
    // A signal ends it.
    while true { pause() }
  }

  private enum Outcome {
    case listens(UInt16)
    case failed(String)
  }

  /// Those of this user first, and those that are dead last: an exporter asks a limited number.
  private static func mounts() -> [ExportedMount] {
    let mounts = MountList.current()
    func rank(_ mount: MountList.Entry) -> Int {
      mount.user == geteuid() ? 0 : mount.control != nil ? 1 : 2
    }
    return (0...2).flatMap { wanted in mounts.filter { rank($0) == wanted } }.map { mount in
      ExportedMount(mountPoint: mount.mountPoint, source: mount.source, socket: mount.control)
    }
  }
}

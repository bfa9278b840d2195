import ArgumentParser
import Control
import Glibc
import Posix
import Prefetch

/// A job of a live mount as the command line runs it: started, watched, cancelled on Ctrl-C, reported.
struct JobRun {
  var request: JobRequest
  var mount: LiveMount
  /// Called with each report of the job; nil: progress is not shown.
  var progress: ((JobReport) -> Void)?

  private static let interval = 0.2

  /// `paths`: of one mount.
  init(_ action: JobRequest.Action, _ paths: [String]) throws {
    let mounts = try paths.map { path throws(Failure) in try LiveMount(holding: path) }
    mount = mounts[0]
    for other in mounts where other.mountPoint != mount.mountPoint {
      throw Failure(
        "\(mount.mountPoint) and \(other.mountPoint) are two mounts: run the command once for each"
      )
    }
    request = JobRequest(action, paths: mounts.map(\.relative))
  }

  /// Returns the last report and its JSON. Ctrl-C ends the job; what it did stays done.
  func callAsFunction() throws -> (report: JobReport, json: [UInt8]) {
    let socket = mount.daemon.socket
    Interrupt.watch()
    do throws(ControlClient.Failure) {
      let id = try ControlClient.start(request, socket: socket).id
      var wasInterrupted = false
      while true {
        let answer = try ControlClient.job(id, wait: Self.interval, socket: socket)
        progress?(answer.report)
        if answer.report.state != .running { return answer }
        if Interrupt.came, !wasInterrupted {
          wasInterrupted = true
          try ControlClient.cancel(id, socket: socket)
        }
      }
    } catch {
      guard MountInfo.current().topmost(at: mount.mountPoint)?.isOurs == true else {
        throw Failure(
          "\(mount.mountPoint) was unmounted meanwhile; after mounting it again, the same command continues where "
            + "it stopped")
      }
      throw Failure("\(error)")
    }
  }

  /// Failures on standard error, the first of them each on a line. Throws what the command ends with.
  func end(_ report: JobReport) throws {
    for failure in report.failureList {
      Millrace.complain("\(mount.mountPoint)/\(failure.path): \(failure.reason)")
    }
    if report.failures > report.failureList.count {
      Millrace.complain("... and \(report.failures - report.failureList.count) more")
    }
    switch report.state {
    case .cancelled: throw Failure("interrupted; the same command continues where it stopped")
    case .failed: throw ExitCode(1)
    default: break
    }
  }
}

/// SIGINT and SIGTERM, noticed.
enum Interrupt {
  nonisolated(unsafe) private static var flag: sig_atomic_t = 0

  static var came: Bool { flag != 0 }

  static func watch() {
    let note: @convention(c) (CInt) -> Void = { _ in
      // The second one ends the program.
      if Interrupt.flag != 0 { _exit(130) }
      Interrupt.flag = 1
    }
    signal(SIGINT, note)
    signal(SIGTERM, note)
  }
}

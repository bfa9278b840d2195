import ArgumentParser
import Control
import Glibc

struct StatsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stats", abstract: "Show where a mount's bytes came from.")

  @Argument(help: "Where it is mounted.") var mountpoint: String
  @Flag(help: "Everything that is counted, as JSON.") var json = false

  func run() throws {
    let environment = processEnvironment()
    guard let place = pathThroughParent(mountpoint) else {
      throw Failure("\(mountpoint): \(systemMessage())")
    }
    let table = MountInfo.current()
    let candidates = [place] + (realPath(mountpoint).map { [$0] } ?? [])
    guard let mountPoint = candidates.first(where: { table.topmost(at: $0)?.isOurs == true }),
      let mount = table.topmost(at: mountPoint)
    else { throw Failure("\(place) is not a mount of millrace's") }
    guard
      let daemon = DaemonRecord.find(mountPoint: mountPoint, user: mount.user, environment)
    else {
      throw Failure("no daemon of \(mountPoint) is to be found; is it another user's, or dead?")
    }
    // The socket comes a moment after the mount.
    for _ in 0..<200 where access(daemon.socket, F_OK) != 0 && daemon.isAlive { usleep(10_000) }
    do {
      let answer = try ControlClient.stats(socket: daemon.socket)
      print(
        json
          ? String(decoding: answer, as: UTF8.self)
          : StatsTable.text(try ControlClient.decode(answer)))
      fflush(nil)
    } catch {
      throw Failure("\(error)")
    }
  }
}

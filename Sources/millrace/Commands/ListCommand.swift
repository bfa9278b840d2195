import ArgumentParser
import Control
import FoundationEssentials
import Glibc
import Posix

struct ListCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List the mounts of this user; as root, of all users.",
    discussion: """
      STATE is running, or dead for a mount whose daemon has ended: mount it again, or unmount it.
      """)

  @Flag(help: "Print JSON.") var json = false

  func run() throws {
    let mounts = MountList.current()
    if json {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
      Output.json(Array(try encoder.encode(mounts)))
    } else if mounts.isEmpty {
      Output.line("no mounts; mount a source: millrace mount SOURCE MOUNTPOINT")
    } else {
      Output.lines(ListCommand.table(mounts))
    }
  }

  static func table(_ mounts: [MountList.Entry]) -> [String] {
    let rows =
      [["MOUNTPOINT", "SOURCE", "PID", "STATE", "LOG"]]
      + mounts.map {
        [
          $0.mountPoint, $0.source, $0.pid.map { "\($0)" } ?? "-", $0.state.rawValue, $0.log ?? "-",
        ]
      }
    let widths = rows[0].indices.map { column in
      rows.map { printable($0[column]).count }.max() ?? 0
    }
    return rows.map { row in
      let cells = zip(row.map { printable($0) }, widths).map { cell, width in
        cell + String(repeating: " ", count: width - cell.count)
      }
      return String(cells.joined(separator: "  ").reversed().drop { $0 == " " }.reversed())
    }
  }
}

/// The mounts of this program that the kernel has.
enum MountList {
  enum State: String, Codable { case running, dead }

  struct Entry: Codable, Equatable {
    var mountPoint: String
    var source: String
    var pid: Int32?
    var state: State
    var log: String?
    /// The control socket.
    var socket: String?
    /// Who mounted it. Not part of the JSON.
    var user: UInt32?
    /// The same, with the user whose daemon it has to be. Not part of the JSON.
    var control: ControlSocket?

    private enum CodingKeys: CodingKey { case mountPoint, source, pid, state, log, socket }
  }

  /// Those of this user; root sees all.
  static func current(
    _ table: MountInfo = .current(), environment: [String: String] = processEnvironment()
  ) -> [Entry] {
    let user = geteuid()
    var seen = Set<String>()
    // Of mounts at the same path the last one is seen.
    let ours = table.entries.reversed().filter { seen.insert($0.path).inserted && $0.isOurs }
    return ours.reversed().compactMap { mount in
      guard user == 0 || mount.user == nil || mount.user == user else { return nil }
      let daemon = DaemonRecord.find(
        mountPoint: mount.path, user: mount.user, environment, table)
      return Entry(
        mountPoint: mount.path, source: mount.source, pid: daemon?.pid,
        state: daemon == nil ? .dead : .running, log: daemon?.log,
        socket: daemon?.socket.path, user: mount.user, control: daemon?.socket)
    }
  }

  /// For an error of a path that is on none of them: "; mounts: /mnt/a, /mnt/b".
  static func hint() -> String {
    let paths = current().map(\.mountPoint)
    guard !paths.isEmpty else { return "; there are no mounts (millrace list)" }
    let shown = paths.prefix(5).joined(separator: ", ")
    return "; mounts are: \(shown)" + (paths.count > 5 ? ", ... (millrace list)" : "")
  }
}

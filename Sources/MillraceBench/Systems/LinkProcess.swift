import Glibc
import TestSupport

/// The store behind a link: MillraceLink, a process of its own.
final class LinkProcess {
  let name: String
  let port: UInt16
  var url: String { "http://127.0.0.1:\(port)" }
  private let child: ChildProcess
  private static let program = "MillraceLink"

  /// `synthetic`: objects that exist in name only, "bucket/key=size"; `options`: more of MillraceLink's.
  init(
    _ name: String, folder: String, synthetic: [String] = [], options: [String] = [], log: String
  ) throws {
    self.name = name
    child = try ChildProcess(
      [Checkout.beside(Self.program), "serve", folder, "--link", name]
        + synthetic.flatMap { ["--synthetic", $0] } + options,
      streams: ChildProcess.Streams(output: log, errors: log + ".errors"))
    let said = waitFor(within: .seconds(30)) { () -> UInt16? in
      let text = (try? readText(log)) ?? ""
      return text.hasPrefix("listening on ")
        ? UInt16(text.split(separator: "\n")[0].split(separator: " ")[2]) : nil
    }
    guard let said else { throw SupportError("MillraceLink did not start: see \(log)") }
    port = said
  }

  func stop() { child.end() }

  struct Statistics {
    var requests = 0
    var bytes = 0
    var connectionsPeak = 0
  }

  func reset() throws { _ = try ask("-/reset", ["-X", "POST"]) }

  func statistics() throws -> Statistics {
    let stats = MountStats(json: try ask("-/stats", []))
    return Statistics(
      requests: try stats.number("requests"), bytes: try stats.number("bytesSent"),
      connectionsPeak: try stats.number("connectionsPeak"))
  }

  private func ask(_ path: String, _ options: [String]) throws -> String {
    try CommandResult.check(["curl", "-s"] + options + ["\(url)/\(path)"]).output
  }

  struct Raw {
    var mbPerSecond: Double
    var firstByteSeconds: Double
  }

  /// What the link carries to nowhere.
  func raw(_ path: String, connections: Int, bytes: Int, range: Int? = nil) throws -> Raw {
    let output = try CommandResult.check(
      [
        Checkout.beside(Self.program), "raw", "\(port)", path, "--connections", "\(connections)",
        "--bytes", "\(bytes)",
      ] + (range.map { ["--range", "\($0)"] } ?? []), within: .seconds(300)
    ).output
    return Raw(
      mbPerSecond: Self.number("mbPerSecond", in: output),
      firstByteSeconds: Self.number("firstByteSeconds", in: output))
  }

  struct Bare {
    var seconds: Double
    var requests: Int
  }

  /// What a listing of a whole bucket takes that looks at nothing.
  func list(_ bucket: String, connections: Int) throws -> Bare {
    let output = try CommandResult.check(
      [
        Checkout.beside(Self.program), "list", "\(port)", bucket, "--connections",
        "\(connections)",
      ], within: .seconds(300)
    ).output
    return Bare(
      seconds: Self.number("seconds", in: output),
      requests: Int(Self.number("requests", in: output)))
  }

  private static func number(_ name: String, in output: String) -> Double {
    guard let label = output.firstRange(of: "\"\(name)\": ") else { return 0 }
    return Double(output[label.upperBound...].prefix { "0123456789.e-".contains($0) }) ?? 0
  }
}

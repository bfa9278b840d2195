import Glibc
import Posix
import TestSupport

/// Tests/Tools/training.py at work: a process that has loaded PyTorch and waits for commands.
final class Trainer {
  struct Epoch {
    var seconds: Double
    /// Shares of them, from the moment that counts as the start.
    var busy: Double
    var waiting: Double
    /// The same without the first step.
    var utilisation: Double
    var laterWaiting: Double
    var bytes: Double
  }

  /// What the loop says of its order beforehand.
  enum Order: String {
    case none, epoch
    /// This epoch's and the next one's.
    case next
  }

  static let workers = 4

  private let child: ChildProcess
  private let output: String
  private let errors: String
  private let commands: String
  private var seen = 0

  init(_ shape: TrainingShape, behind prefix: [String], scratch: TemporaryFolder) throws {
    output = scratch.path("trainer.out")
    errors = scratch.path("trainer.errors")
    commands = scratch.path("trainer.commands")
    unlink(commands)
    guard mkfifo(commands, 0o600) == 0 else { throw SupportError("cannot make \(commands)") }
    child = try ChildProcess(
      prefix + [
        VirtualEnvironment.shared().python, "-W", "ignore", Checkout.tools + "/training.py",
        "serve", shape.loop, commands,
      ],
      streams: ChildProcess.Streams(output: output, errors: errors))
    guard try next(within: .seconds(120)) == "ready" else {
      throw SupportError("the training loop did not start: \(try troubles())")
    }
  }

  func end() { child.end() }

  /// One run. `since`: from when the first epoch counts; `ended`: called after each epoch.
  func run(
    _ folder: String, epochs: Int, order: Order = .none, seed: Int, since: Instant,
    ended: (Int) throws -> Void
  ) throws -> [Epoch] {
    let command =
      "{\"data\": \"\(folder)\", \"since\": \(Double(since.nanoseconds) / 1e9), \"epochs\": \(epochs), "
      + "\"workers\": \(Self.workers), \"order\": \"\(order.rawValue)\", \"seed\": \(seed)}\n"
    // The loop holds the pipe open; a second opening must not wait for it should it have died.
    let pipe = open(commands, O_WRONLY | O_NONBLOCK | O_CLOEXEC)
    guard pipe >= 0 else { throw SupportError("the training loop is gone: \(try troubles())") }
    defer { close(pipe) }
    _ = write(pipe, command, command.utf8.count)
    var result: [Epoch] = []
    while true {
      let line = try next(within: .seconds(600))
      if line == "done" { return result }
      result.append(Self.epoch(line))
      try ended(result.count)
    }
  }

  private static func epoch(_ line: String) -> Epoch {
    var values: [Substring: Double] = [:]
    for field in line.split(separator: " ").dropFirst() {
      let parts = field.split(separator: "=")
      if parts.count == 2 { values[parts[0]] = Double(parts[1]) }
    }
    return Epoch(
      seconds: values["seconds"] ?? 0, busy: values["busy"] ?? 0, waiting: values["waiting"] ?? 0,
      utilisation: values["utilisation"] ?? 0, laterWaiting: values["laterWaiting"] ?? 0,
      bytes: values["bytes"] ?? 0)
  }

  private func next(within duration: Duration) throws -> String {
    let line = try waitFor(within: duration) { () -> String? in
      try Interruption.check()
      let lines = ((try? readText(output)) ?? "").split(
        separator: "\n", omittingEmptySubsequences: false)
      // The last is what is not ended yet.
      if seen < lines.count - 1 { return String(lines[seen]) }
      if child.poll() != nil { throw SupportError("the training loop ended: \(try troubles())") }
      return nil
    }
    guard let line else { throw SupportError("the training loop said nothing: \(try troubles())") }
    seen += 1
    return line
  }

  private func troubles() throws -> String {
    try readText(errors).split(separator: "\n").suffix(12).joined(separator: "\n")
  }
}

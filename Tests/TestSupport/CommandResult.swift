import Glibc

/// What a finished command said and how it ended.
public struct CommandResult: Sendable {
  public let status: ChildProcess.Ending
  public let output: String
  public let errors: String

  public var succeeded: Bool { status == .exited(0) }

  /// Runs a command to its end; past `duration` it is killed and the call throws. Output is captured
  /// through files: however much it is, the command never blocks on it.
  public static func run(
    _ command: [String], environment: [String: String] = [:], folder: String? = nil,
    input: String? = nil, within duration: Duration = .seconds(60)
  ) throws -> CommandResult {
    let scratch = try TemporaryFolder("command")
    var streams = ChildProcess.Streams(
      output: scratch.path("output"), errors: scratch.path("errors"))
    if let input { streams.input = try scratch.file("input", text: input) }
    let child = try ChildProcess(
      command, environment: environment, folder: folder, streams: streams)
    let ending = child.wait(within: duration)
    if ending == nil { child.end(SIGKILL) }
    let output = try readText(scratch.path("output"))
    let errors = try readText(scratch.path("errors"))
    guard let ending else {
      throw SupportError(
        "\(command.joined(separator: " ")) did not end within \(duration): \(output)\(errors)")
    }
    return CommandResult(status: ending, output: output, errors: errors)
  }

  /// As `run`, but throws with what the command said unless it exited with 0.
  @discardableResult
  public static func check(
    _ command: [String], environment: [String: String] = [:], folder: String? = nil,
    input: String? = nil, within duration: Duration = .seconds(60)
  ) throws -> CommandResult {
    let result = try run(
      command, environment: environment, folder: folder, input: input, within: duration)
    guard result.succeeded else {
      throw SupportError(
        "\(command.joined(separator: " ")) failed (\(result.status)): \(result.output)\(result.errors)"
      )
    }
    return result
  }
}

/// The program's path; `nil` where PATH does not lead to it.
public func findProgram(_ name: String) -> String? {
  let folders = (environmentVariable("PATH") ?? "").split(separator: ":").map(String.init)
  for folder in folders + ["/usr/sbin", "/sbin", "/usr/bin"] {
    let path = folder + "/" + name
    if access(path, X_OK) == 0 { return path }
  }
  return nil
}

/// A server on loopback: started, waited for until it answers, ended with its owner.
public final class ServerProcess: Sendable {
  public let child: ChildProcess
  public let log: String
  public let port: UInt16

  /// `log`: a file for both of its streams. Returns once `port` accepts a connection; throws, with
  /// the end of the log, where that takes longer than `within` or the program ends.
  public init(
    _ command: [String], port: UInt16, log: String, environment: [String: String] = [:],
    folder: String? = nil, within: Duration = .seconds(60)
  ) throws {
    child = try ChildProcess(
      command, environment: environment, folder: folder,
      streams: ChildProcess.Streams(output: log, errors: log))
    self.log = log
    self.port = port
    let child = child
    let answered = waitFor(within: within) { () -> Bool? in
      if child.poll() != nil { return false }
      return isListening(port) ? true : nil
    }
    guard answered == true else {
      child.end()
      throw SupportError(
        "\(command[0]) did not answer on port \(port): \(Self.tail(of: log))")
    }
  }

  public var pid: CInt { child.pid }

  /// Ends the server and waits until it is gone.
  public func stop() { child.end() }

  deinit { child.end() }

  static func tail(of log: String, lines: Int = 15) -> String {
    let text = (try? readText(log)) ?? ""
    return text.split(separator: "\n").suffix(lines).joined(separator: "\n")
  }
}

import CProcessShim
import Glibc
import ObjectStore

/// The arguments of a command on their way to its daemon: in a file without a name, since an address may hold a
/// password or a signature and /proc/PID/cmdline is open to every user of the machine.
enum ArgumentHandOver {
  /// Bytes; execve(2) takes no more either.
  private static let limit = 8 << 20

  /// A descriptor to read them from.
  static func write(_ arguments: [String]) throws(Failure) -> CInt {
    let file = millrace_memory_file("millrace-arguments")
    guard file >= 0 else { throw Failure("cannot make a file in memory: \(systemMessage())") }
    defer { close(file) }
    let bytes: [UInt8] = arguments.flatMap { (argument: String) -> [UInt8] in
      Array(argument.utf8) + [0]
    }
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes {
        Glibc.write(file, $0.baseAddress! + done, bytes.count - done)
      }
      guard count > 0 else { throw Failure("a file in memory: \(systemMessage())") }
      done += count
    }
    lseek(file, 0, SEEK_SET)
    // Above the numbers that the child is given.
    let high = fcntl(file, F_DUPFD_CLOEXEC, 20)
    guard high >= 0 else { throw Failure("a file in memory: \(systemMessage())") }
    return high
  }

  /// In the daemon; nil for a command that a user typed.
  static func read() -> [String]? {
    guard let text = getenv(Launcher.argumentsVariable), let file = CInt(String(cString: text))
    else {
      return nil
    }
    unsetenv(Launcher.argumentsVariable)
    defer { close(file) }
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 64 << 10)
    while bytes.count < limit {
      let count = Glibc.read(file, &piece, piece.count)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { break }
      bytes += piece[..<count]
    }
    return bytes.split(separator: 0, omittingEmptySubsequences: false).dropLast().map {
      String(decoding: $0, as: UTF8.self)
    }
  }

  /// Writes over the secrets in this process's own arguments, where ps(1) and /proc/PID/cmdline read them. They stay
  /// readable from the exec until this call; `CommandLine.arguments` keeps them.
  static func hideOwn() {
    _ = CommandLine.arguments
    var index: CInt = 1
    while let argument = millrace_argument(index) {
      let length = strlen(argument)
      let bytes = UnsafeMutableRawBufferPointer(start: argument, count: length)
      for range in SecretMask.ranges(in: Array(bytes), inText: false) {
        for place in range { bytes[place] = UInt8(ascii: "*") }
      }
      index += 1
    }
  }
}

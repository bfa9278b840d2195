import ArgumentParser
import Glibc
import Posix
import Prefetch

struct OrderCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "order",
    abstract: "Tell a mount in which order its files are read next.",
    discussion: """
      LIST has a path a line, relative to the mount or below it; - is the standard input. They are
      fetched in exactly that order, ahead of whoever reads them. An order replaces the last one of its
      name; an empty one ends it. Writing LIST to MOUNTPOINT/.millrace/order (or order.NAME) does the same.
      """)

  @Argument(help: "Where it is mounted.") var mountpoint: String
  @Argument(help: "A file, or - for the standard input.") var list: String
  @Option(help: "One of several orders that hold at once, such as rank0.") var name: String?

  func validate() throws {
    let isName = name.map { !$0.isEmpty && !$0.contains("/") && $0.utf8.count <= 100 } ?? true
    if !isName { throw ValidationError("--name: 1 to 100 bytes without a slash") }
  }

  func run() throws {
    let mount = try LiveMount(holding: mountpoint)
    // All of it first: a program that ends while it writes has given what it had written.
    let text = try PathList.bytes(of: list)
    let files = PathList.lines(of: text).count
    let path = mount.mountPoint + "/.millrace/order" + (name.map { ".\($0)" } ?? "")
    // A name is there once an order of it is in force.
    let output = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard output >= 0 else { throw Failure("\(path): \(systemMessage())") }
    // An order of nothing is one too: it ends the last.
    try give(files == 0 ? [UInt8(ascii: "\n")] : text, to: output, path)
    guard close(output) == 0 else {
      throw Self.refusal(path, errno)
    }
    Output.line("Order of \(counted(files, "file")) taken by \(mount.mountPoint)")
  }

  private static func refusal(_ path: String, _ code: CInt) -> Failure {
    let reason =
      switch code {
      case EFBIG: "it has more than 512 MiB or 4,194,304 lines; give the part that is read first"
      case ENOSPC:
        "64 orders are in force, or orders take all the memory that they may, which is --metadata-limit; end one (an "
          + "empty list under its --name), or give the part that is read first"
      default: systemMessage(code)
      }
    return Failure("\(path): the order was not taken: \(reason)")
  }

  private func give(_ text: [UInt8], to file: CInt, _ path: String) throws {
    var done = 0
    while done < text.count {
      let written = text.withUnsafeBytes { write(file, $0.baseAddress! + done, text.count - done) }
      guard written > 0 else { throw Self.refusal(path, errno) }
      done += written
    }
  }
}

import ArgumentParser
import Control
import Glibc
import Posix
import Prefetch

struct OrderCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "order",
    abstract: "Submit the access order of an epoch: the mount prefetches exactly these files.",
    usage: "millrace order MOUNTPOINT LIST [--name NAME]",
    discussion: """
      LIST has one path a line, relative to the mount point or absolute below it; - is standard input. The files \
      are prefetched in exactly that order, ahead of their readers. An order replaces the previous one of its \
      name; an empty list ends it. Writing LIST to MOUNTPOINT/.millrace/order (or order.NAME) does the same.

      Example:
        millrace order /mnt/data epoch-3.txt --name rank0
      """)

  @Argument(help: "A mount point.", completion: .directory) var mountpoint: String
  @Argument(help: "A file, or - for standard input.", completion: .file()) var list: String
  @Option(help: "Name of one of several concurrent orders, such as rank0.") var name: String?

  func validate() throws {
    let isName = name.map { !$0.isEmpty && !$0.contains("/") && $0.utf8.count <= 100 } ?? true
    if !isName { throw ValidationError("--name: expected 1 to 100 bytes without a slash") }
  }

  func run() throws {
    let mount = try LiveMount(holding: mountpoint)
    let text = try PathList.bytes(of: list)
    let files = PathList.lines(of: text).count
    let receipt: OrderReceipt
    do throws(ControlClient.Failure) {
      receipt = try ControlClient.order(text, name: name ?? "", socket: mount.daemon.socket)
    } catch {
      throw Failure("\(mount.mountPoint): the order was not accepted: \(error)")
    }
    Output.line("Order of \(counted(files, "file")) accepted by \(mount.mountPoint)")
    if let warning = receipt.warning { Millrace.complain(warning) }
  }
}

import ArgumentParser
import Control
import Glibc

struct TopCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "top",
    abstract: "Watch who reads a mount, and what they wait for.",
    discussion: """
      Ends with q or Ctrl-C. WAIT is the share of the time in which at least one read or look-up of a
      process waited for this mount; after it, that share by cause.
      """)

  @Argument(help: "Where it is mounted.") var mountpoint: String
  @Option(help: "Seconds between two looks, 0.2 to 60.") var interval = 1.0
  @Flag(help: "One look, of one interval, and no live screen.") var once = false

  func validate() throws {
    if !(0.2...60).contains(interval) { throw ValidationError("--interval: 0.2 to 60") }
  }

  func run() throws {
    let mount = try LiveMount(holding: mountpoint)
    let isLive = !once && isatty(STDOUT_FILENO) != 0
    let terminal = isLive ? Terminal() : nil
    defer { terminal?.restore() }
    Interrupt.watch()
    var last = try look(mount)
    while true {
      if Terminal.waitForQuit(seconds: interval, readsKeys: isLive) || Interrupt.came { return }
      let now = try look(mount)
      let lines = TopScreen.lines(now, since: last, size: terminal?.size)
      if let terminal { terminal.show(lines) } else { Output.lines(lines) }
      if !isLive { return }
      last = now
    }
  }

  private func look(_ mount: LiveMount) throws -> StatsReport {
    do {
      return try ControlClient.decode(try ControlClient.stats(socket: mount.daemon.socket))
    } catch { throw Failure("\(error)") }
  }
}

/// The screen of a terminal, in which keys are read one by one.
final class Terminal {
  private var before = termios()

  init() {
    tcgetattr(STDIN_FILENO, &before)
    var raw = before
    raw.c_lflag &= ~tcflag_t(ICANON | ECHO)
    tcsetattr(STDIN_FILENO, TCSANOW, &raw)
    // The other screen, so that what was there comes back.
    write("\u{1B}[?1049h\u{1B}[?25l")
  }

  func restore() {
    write("\u{1B}[?25h\u{1B}[?1049l")
    tcsetattr(STDIN_FILENO, TCSANOW, &before)
  }

  var size: (rows: Int, columns: Int) {
    var size = winsize()
    guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_row > 0 else {
      return (24, 80)
    }
    return (Int(size.ws_row), Int(size.ws_col))
  }

  func show(_ lines: [String]) {
    let size = size
    let shown = lines.prefix(size.rows - 1).map {
      String(printable($0).prefix(size.columns)) + "\u{1B}[K\r\n"
    }
    write("\u{1B}[H" + shown.joined() + "\u{1B}[J")
  }

  private func write(_ text: String) { Output.screen(text) }

  /// True: q was pressed. A signal ends the wait as well.
  static func waitForQuit(seconds: Double, readsKeys: Bool) -> Bool {
    var wanted = pollfd(fd: readsKeys ? STDIN_FILENO : -1, events: Int16(POLLIN), revents: 0)
    guard poll(&wanted, 1, Int32(seconds * 1000)) > 0 else { return false }
    var key: UInt8 = 0
    guard read(STDIN_FILENO, &key, 1) == 1 else { return true }
    return key == UInt8(ascii: "q") || key == UInt8(ascii: "Q")
  }
}

import ArgumentParser
import Control
import Glibc

struct TopCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "top",
    abstract: "Show the processes that read a mount, and what they wait for.",
    discussion: """
      WAIT is the share of the time in which at least one read or look-up of a process waited for this mount. \
      The columns after it are its causes: LIST listings, QUEUE queued behind other requests, LIMIT our own \
      rate limit, TTFB time to first byte, XFER bandwidth, DISK the cache disk. Processes with one parent and \
      one command are a row together. Keys: f shows each process, q ends. NO_COLOR turns colours off.
      """)

  @Argument(help: "The mount point.") var mountpoint: String
  @Option(help: ArgumentHelp("Seconds between two samples, 0.2 to 60.", valueName: "seconds"))
  var interval = 1.0
  @Flag(help: "Print one sample, of one interval, and end.") var once = false
  @Flag(help: "A row for each process, not for each group of workers.") var processes = false

  func validate() throws {
    if !(0.2...60).contains(interval) { throw ValidationError("--interval: 0.2 to 60") }
  }

  func run() throws {
    let mount = try LiveMount(holding: mountpoint)
    let isLive = !once && isatty(STDOUT_FILENO) != 0
    let terminal = isLive ? Terminal() : nil
    defer { terminal?.restore() }
    Interrupt.watch()
    var unfolds = processes
    var (last, now) = (try sample(mount), nil as StatsReport?)
    var history = TopHistory()
    func show() {
      guard let now else { return }
      let lines = TopScreen.screen(
        now, since: last, size: terminal?.size, unfolds: unfolds, history: history)
      if let terminal { terminal.show(lines) } else { Output.lines(lines.map(\.text)) }
    }
    while true {
      switch Terminal.wait(seconds: interval, readsKeys: isLive) {
      case .quit: return
      case .fold:
        unfolds.toggle()
        show()
        continue
      case nil: break
      }
      if Interrupt.came { return }
      if let now { last = now }
      let sample = try sample(mount)
      now = sample
      history.add(TopScreen.longestWait(sample, since: last))
      show()
      if !isLive { return }
    }
  }

  private func sample(_ mount: LiveMount) throws -> StatsReport {
    do {
      return try ControlClient.decode(try ControlClient.stats(socket: mount.daemon.socket))
    } catch { throw Failure("\(error)") }
  }
}

/// The screen of a terminal, in which keys are read one by one.
final class Terminal {
  enum Key { case quit, fold }

  private var before = termios()
  private let hasColours = Colour.isUsed(processEnvironment())

  init() {
    tcgetattr(STDIN_FILENO, &before)
    var raw = before
    raw.c_lflag &= ~tcflag_t(ICANON | ECHO)
    tcsetattr(STDIN_FILENO, TCSANOW, &raw)
    // The alternate screen, so that what was there comes back.
    write("\u{1B}[?1049h\u{1B}[?25l")
  }

  func restore() {
    write("\u{1B}[?25h\u{1B}[?1049l")
    tcsetattr(STDIN_FILENO, TCSANOW, &before)
  }

  var size: (rows: Int, columns: Int) { Self.size(of: STDOUT_FILENO) ?? (24, 80) }

  /// nil: it is no terminal, or does not say.
  static func size(of descriptor: CInt) -> (rows: Int, columns: Int)? {
    var size = winsize()
    guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_row > 0, size.ws_col > 0 else {
      return nil
    }
    return (Int(size.ws_row), Int(size.ws_col))
  }

  func show(_ lines: [TopScreen.Line]) {
    let size = size
    let shown = lines.prefix(size.rows - 1).map { line in
      let text = String(printable(line.text).prefix(size.columns - 1))
      return (hasColours ? line.colour.around(text) : text) + "\u{1B}[K\r\n"
    }
    write("\u{1B}[H" + shown.joined() + "\u{1B}[J")
  }

  private func write(_ text: String) { Output.screen(text) }

  /// The key pressed meanwhile; nil: none that means anything, or a signal.
  static func wait(seconds: Double, readsKeys: Bool) -> Key? {
    var wanted = pollfd(fd: readsKeys ? STDIN_FILENO : -1, events: Int16(POLLIN), revents: 0)
    guard poll(&wanted, 1, Int32(seconds * 1000)) > 0 else { return nil }
    var key: UInt8 = 0
    guard read(STDIN_FILENO, &key, 1) == 1 else { return .quit }
    switch key {
    case UInt8(ascii: "q"), UInt8(ascii: "Q"): return .quit
    case UInt8(ascii: "f"), UInt8(ascii: "F"): return .fold
    default: return nil
    }
  }
}

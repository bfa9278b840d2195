import Glibc
import ObjectStore

/// Logins by host, as ftp and curl keep them: `machine HOST login NAME password WORD`, `default`,
/// `macdef` (stepped over), words in double quotes where they hold blanks, comments from a word that
/// begins with "#".
struct Netrc: Equatable {
  struct Login: Equatable {
    var name = ""
    var password = ""
  }

  struct Malformed: Error, Equatable {
    var line: Int
    var reason: String
  }

  private var machines: [String: Login] = [:]
  private var fallback: Login?

  /// The first entry of a host counts.
  func login(of host: String) -> Login? { machines[host] ?? fallback }

  init() {}

  init(_ text: String) throws(Malformed) {
    var scanner = Scanner(text)
    var machine: String?
    var isOpen = false
    var login = Login()
    func close(_ netrc: inout Netrc) {
      guard isOpen else { return }
      if let machine {
        if netrc.machines[machine] == nil { netrc.machines[machine] = login }
      } else if netrc.fallback == nil {
        netrc.fallback = login
      }
    }
    while let word = try scanner.word() {
      switch word {
      case "machine", "default":
        close(&self)
        machine = word == "default" ? nil : try scanner.value(of: word)
        (isOpen, login) = (true, Login())
      case "login", "user", "account", "password":
        let value = try scanner.value(of: word)
        guard isOpen else {
          throw Malformed(line: scanner.line, reason: "'\(word)' before the first machine")
        }
        if word == "password" { login.password = value }
        if word == "login" || word == "user" { login.name = value }
      case "macdef": scanner.skipMacro()
      default:
        if word.hasPrefix("#") {
          scanner.skipLine()
        } else {
          throw Malformed(line: scanner.line, reason: "'\(word.prefix(20))' is not a netrc keyword")
        }
      }
    }
    close(&self)
  }

  /// `isOptional`: that there is no such file is no error. A file that others can read is refused, as by ftp.
  static func read(_ path: String, isOptional: Bool) throws(StoreError) -> Netrc {
    func wrong(_ detail: String, _ advice: String = "") -> StoreError {
      StoreError(.invalidSource, store: path, detail: detail, advice: advice)
    }
    let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard file >= 0 else {
      if isOptional, errno == ENOENT { return Netrc() }
      throw wrong("cannot read it: \(String(cString: strerror(errno)))")
    }
    defer { close(file) }
    var status = stat()
    guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      throw wrong("it is not a regular file")
    }
    guard status.st_mode & 0o77 == 0 else {
      throw wrong("file is readable by other users", "run: chmod 600 \(path)")
    }
    var bytes = [UInt8](repeating: 0, count: 1 << 20)
    let count = Glibc.read(file, &bytes, bytes.count)
    guard count >= 0, count < bytes.count else { throw wrong("it is larger than 1 MiB") }
    do throws(Malformed) {
      return try Netrc(String(decoding: bytes[..<count], as: UTF8.self))
    } catch {
      throw wrong("line \(error.line): \(error.reason)")
    }
  }

  private struct Scanner {
    private var rest: Substring.UnicodeScalarView
    private(set) var line = 1

    init(_ text: String) { rest = Substring(text).unicodeScalars }

    private static func isBlank(_ scalar: Unicode.Scalar) -> Bool {
      scalar == " " || scalar == "\t" || scalar == "\n" || scalar == "\r"
    }

    private mutating func next() -> Unicode.Scalar? {
      guard let scalar = rest.popFirst() else { return nil }
      if scalar == "\n" { line += 1 }
      return scalar
    }

    mutating func word() throws(Malformed) -> String? {
      while let first = rest.first, Self.isBlank(first) { _ = next() }
      guard let first = rest.first else { return nil }
      var word = String.UnicodeScalarView()
      if first == "\"" {
        _ = next()
        while let scalar = next() {
          if scalar == "\"" { return String(word) }
          if scalar == "\\", let taken = next() { word.append(taken) } else { word.append(scalar) }
        }
        throw Malformed(line: line, reason: "unclosed quote")
      }
      while let scalar = rest.first, !Self.isBlank(scalar) {
        _ = next()
        if scalar == "\\", let taken = next() { word.append(taken) } else { word.append(scalar) }
      }
      return String(word)
    }

    mutating func value(of name: String) throws(Malformed) -> String {
      guard let value = try word() else {
        throw Malformed(line: line, reason: "'\(name)' has no value")
      }
      return value
    }

    mutating func skipLine() { while let scalar = next(), scalar != "\n" {} }

    /// To the next empty line.
    mutating func skipMacro() {
      skipLine()
      while let first = rest.first, first != "\n" {
        _ = first
        skipLine()
      }
    }
  }
}

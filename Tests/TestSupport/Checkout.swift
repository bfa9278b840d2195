import Glibc

/// Where this checkout and what was built from it lie.
public enum Checkout {
  /// The repository's top folder, found from where this source file was compiled.
  public static let root: String = {
    var parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
    parts.removeLast(3)  // Tests/TestSupport/Checkout.swift
    return parts.joined(separator: "/")
  }()

  /// Scratch that `make clean` removes and git ignores.
  public static let buildFolder = root + "/.build"

  /// The distribution's Python: it sees the distribution's packages, such as python3-torch.
  public static let systemPython = "/usr/bin/python3"

  /// Python programs that tests and demo call.
  public static let tools = root + "/Tests/Tools"

  /// The `millrace` of the build that this process belongs to, else of any build there is;
  /// MILLRACE_BINARY names another.
  public static func millrace() throws -> String {
    if let named = environmentVariable("MILLRACE_BINARY") { return named }
    let own = executablePath()
    let beside = own.split(separator: "/").dropLast().joined(separator: "/")
    let candidates = [
      "/" + beside + "/millrace", buildFolder + "/debug/millrace",
      buildFolder + "/release/millrace",
    ]
    for candidate in candidates where access(candidate, X_OK) == 0 { return candidate }
    throw SupportError("no built millrace: looked for \(candidates); run `swift build` first")
  }

  /// Another program of the build that this process belongs to.
  public static func beside(_ name: String) -> String {
    executablePath().split(separator: "/").dropLast().reduce("") { $0 + "/" + $1 } + "/" + name
  }

  private static func executablePath() -> String {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let length = readlink("/proc/self/exe", &buffer, buffer.count - 1)
    return String(decoding: buffer.prefix(max(0, length)).map(UInt8.init), as: UTF8.self)
  }
}

/// The variable's value; `nil` where it is unset or empty.
public func environmentVariable(_ name: String) -> String? {
  guard let value = getenv(name) else { return nil }
  let text = String(cString: value)
  return text.isEmpty ? nil : text
}

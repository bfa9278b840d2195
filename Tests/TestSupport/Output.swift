import Glibc

/// A line on standard output, at once: what a child prints next comes after it.
public func say(_ text: String) { emit(text, to: 1) }

/// A line on standard error.
public func printError(_ text: String) { emit(text, to: 2) }

private func emit(_ text: String, to descriptor: CInt) {
  let line = Array((text + "\n").utf8)
  _ = write(descriptor, line, line.count)
}

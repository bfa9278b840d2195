import Glibc

/// What a test may need of its machine.
public enum Requirement: Sendable {
  /// /dev/fuse can be opened and fusermount3 is there.
  case fuse
  /// A program in PATH.
  case program(String)
  /// The Python environment with SeaweedFS, rclone, moto and boto3.
  case servers
  /// Debian's PyTorch, for the examples of docs/examples.
  case torch
  /// Root, or what root may do: dropping the page cache, unmounting by umount.
  case root
  /// Root on Linux 6.9 or later: the kernel can read cache files by itself.
  case passthrough
}

/// For `@Test(.enabled(if: requireOrSkip(.fuse)))`: true where the machine has it all. Where it has
/// not, the reason is printed and the test is skipped; with CI=true in the environment it is not
/// skipped, and fails for the reason that was printed.
public func requireOrSkip(
  _ requirements: Requirement..., file: String = #fileID, line: Int = #line
) -> Bool {
  guard let reason = requirements.lazy.compactMap(missing).first else { return true }
  let isCI = environmentVariable("CI") == "true"
  let verb = isCI ? "MISSING, and CI=true" : "SKIPPED"
  printError("\(verb): \(file):\(line): \(reason)")
  return isCI
}

/// For `@Test(.enabled(if: isLongRun(seconds: 60)))`: true where `make test-long` runs, which runs what
/// `make test` has no time for. Elsewhere it says what is left out. `seconds`: on two cores.
public func isLongRun(seconds: Int, file: String = #fileID, line: Int = #line) -> Bool {
  if environmentVariable("MILLRACE_TESTS") == "long" { return true }
  printError("LEFT OUT: \(file):\(line): takes \(seconds) s; make test-long runs it")
  return false
}

private func missing(_ requirement: Requirement) -> String? {
  switch requirement {
  case .fuse:
    let device = open("/dev/fuse", O_RDWR | O_CLOEXEC)
    guard device >= 0 else {
      return "/dev/fuse cannot be opened (\(systemMessage())): no mount can be tested; load the "
        + "fuse module, or give the container /dev/fuse and SYS_ADMIN"
    }
    close(device)
    return findProgram("fusermount3") == nil
      ? "fusermount3 is missing: apt-get install fuse3, or make setup" : nil
  case .program(let name):
    return findProgram(name) == nil ? "\(name) is missing: make setup" : nil
  case .servers:
    do {
      _ = try VirtualEnvironment.shared()
      return nil
    } catch { return "\(error)" }
  case .torch:
    let look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') is None)"
    let isThere = (try? CommandResult.run([Checkout.systemPython, "-c", look]))?.succeeded == true
    return isThere
      ? nil
      : "\(Checkout.systemPython) has no torch: apt-get install python3-torch, or make setup"
  case .root:
    return geteuid() == 0 ? nil : "this needs root"
  case .passthrough:
    var name = utsname()
    uname(&name)
    let release = withUnsafeBytes(of: &name.release) {
      String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
    }
    let numbers = release.split(separator: ".").prefix(2).compactMap { Int($0) }
    let isYoung = !numbers.lexicographicallyPrecedes([6, 9])
    return isYoung && geteuid() == 0 ? nil : "this needs root and Linux 6.9, not \(release)"
  }
}

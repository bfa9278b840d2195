import Glibc
import Posix
import TestSupport
import Testing

@testable import millrace

/// The built program, as a user calls it.
@Suite(.serialized) struct BinaryTests {
  private func call(_ arguments: [String]) throws -> CommandResult {
    try CommandResult.run(
      [try Checkout.millrace()] + arguments, within: .seconds(40))
  }

  private func expectFailure(_ arguments: [String], code: Int32, saying words: String) throws {
    let result = try call(arguments)
    #expect(result.status == .exited(code), "\(arguments): \(result.errors)")
    #expect(result.errors.contains(words), "\(result.errors)")
    #expect(result.errors.hasPrefix("millrace: "))
    #expect(result.errors.filter(\.isNewline).count == 1, "one line: \(result.errors)")
  }

  private func withFolder(_ body: (String) throws -> Void) throws {
    var name = Array("/tmp/millrace-cli.XXXXXX".utf8CString)
    _ = mkdtemp(&name)
    let folder = String(decoding: name.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    defer {
      _ = try? CommandResult.run(["rm", "-rf", "--one-file-system", folder], within: .seconds(10))
    }
    for part in ["src", "mnt", "cache"] { mkdir("\(folder)/\(part)", 0o755) }
    _ = try CommandResult.run(["sh", "-c", "echo hello > \(folder)/src/a"], within: .seconds(10))
    try body(folder)
  }

  @Test func usageErrorsExitWithTwo() throws {
    try expectFailure(["mount", "s3://b", "/mnt", "--bogus"], code: 2, saying: "--bogus")
    try expectFailure(["mount", "s3://b"], code: 2, saying: "mountpoint")
    try expectFailure(["mount", "nowhere://b", "/mnt"], code: 2, saying: "unknown scheme")
    try expectFailure(
      ["mount", "s3://b", "/mnt", "--cache-size", "x"], code: 2, saying: "--cache-size 'x'")
    try expectFailure(["run", "s3://b", "/mnt"], code: 125, saying: "no command")
    #expect(try call(["--version"]).output == "\(Millrace.version)\n")
    #expect(try call(["--help"]).succeeded)
  }

  @Test func whatCannotBeMountedIsToldInOneLine() throws {
    try withFolder { (folder: String) throws in
      let cache = ["--cache-dir", "\(folder)/cache"]
      let source = "file://\(folder)/src"
      try expectFailure(
        ["mount", source, "\(folder)/no"] + cache, code: 6, saying: "does not exist")
      try expectFailure(
        ["mount", source, "\(folder)/src/a"] + cache, code: 6, saying: "not a directory")
      try expectFailure(["mount", source, "\(folder)/src"] + cache, code: 6, saying: "not empty")
      try expectFailure(["mount", source, "/proc"] + cache, code: 6, saying: "already a mount")
      try expectFailure(
        ["mount", "file://\(folder)/no", "\(folder)/mnt"] + cache, code: 3, saying: "No such file")
      try expectFailure(
        ["mount", source, "\(folder)/mnt", "--cache-dir", "\(folder)/src/a/b"], code: 1,
        saying: "cache directory")
      try expectFailure(
        [
          "mount", "s3://b", "\(folder)/mnt", "--no-sign-request", "--endpoint-url",
          "http://127.0.0.1:1",
        ] + cache,
        code: 5, saying: "127.0.0.1")
      try expectFailure(["unmount", "\(folder)/mnt"], code: 6, saying: "not a mount point")
      try expectFailure(["stats", "\(folder)/mnt"], code: 6, saying: "not on a mount")
      #expect(MountInfo.current().topmost(at: "\(folder)/mnt") == nil)
    }
  }

  @Test func runExitsWithTheCodeOfItsCommandAndUnmounts() throws {
    try withFolder { (folder: String) throws in
      func run(_ command: [String]) throws -> CommandResult {
        try call(
          ["run", "file://\(folder)/src", "\(folder)/new", "--cache-dir", "\(folder)/cache", "--"]
            + command)
      }
      #expect(try run(["sh", "-c", "exit 7"]).status == .exited(7))
      #expect(try run(["sh", "-c", "kill -TERM $$"]).status == .exited(143))
      #expect(try run(["/no/such/program"]).status == .exited(127))
      #expect(try run([folder]).status == .exited(126))
      #expect(try run(["cat", "\(folder)/new/a"]).output == "hello\n")
      #expect(FileStatus(of: "\(folder)/new") == nil)
    }
  }

  @Test func mountStatsAndUnmountWorkTogether() throws {
    try withFolder { (folder: String) throws in
      let mounted = try call([
        "mount", "file://\(folder)/src", "\(folder)/mnt", "--cache-dir", "\(folder)/cache",
      ])
      #expect(mounted.succeeded, "\(mounted.errors)")
      defer { _ = try? call(["unmount", "--force", "\(folder)/mnt"]) }
      #expect(mounted.output.hasPrefix("Mounted file://\(folder)/src at \(folder)/mnt (cache "))
      #expect(try call(["stats", "\(folder)/mnt"]).output.contains("Served    "))
      #expect(
        try call(["stats", "--json", "\(folder)/mnt"]).output.contains("reads.bytesFromDisk"))
      try expectFailure(
        ["mount", "file://\(folder)/src", "\(folder)/mnt", "--cache-dir", "\(folder)/cache"],
        code: 6,
        saying: "already a mount")
      #expect(try call(["umount", "\(folder)/mnt"]).succeeded)
      #expect(MountInfo.current().topmost(at: "\(folder)/mnt") == nil)
    }
  }

  @Test func runSaysThatItsDaemonDiedAndLeavesNoDeadMount() throws {
    try withFolder { (folder: String) throws in
      let program = try Checkout.millrace()
      let result = try call([
        "run", "file://\(folder)/src", "\(folder)/new", "--cache-dir", "\(folder)/cache", "--",
        "sh", "-c",
        "kill -9 $(\(program) stats \(folder)/new --json | sed -n 's/.*\"pid\" : \\([0-9]*\\).*/\\1/p')",
      ])
      #expect(result.status == .exited(1))
      #expect(result.errors.contains("ended before the command did"), "\(result.errors)")
      #expect(MountInfo.current().topmost(at: "\(folder)/new") == nil)
      #expect(FileStatus(of: "\(folder)/new") == nil)
    }
  }

  @Test func aDaemonHoldsNothingOfItsCallerAndLeavesItsSuccessorAlone() throws {
    try withFolder { (folder: String) throws in
      let program = try Checkout.millrace()
      defer { _ = try? call(["unmount", "--force", "\(folder)/mnt"]) }
      let mount =
        "\(program) mount file://\(folder)/src \(folder)/mnt --cache-dir \(folder)/cache"
      let steps = [
        "exec 9>\(folder)/lock; flock 9; \(mount); exec 9>&-; flock -n \(folder)/lock true",
        // The first daemon ends while the second serves the same place.
        "exec 7<\(folder)/mnt/a; fusermount3 -uz \(folder)/mnt; \(mount); exec 7<&-",
      ]
      for step in steps {
        let result = try CommandResult.run(["sh", "-c", step])
        #expect(result.succeeded, "\(step): \(result.errors)")
      }
      let isAlone = waitFor(within: .seconds(20)) { () -> Bool? in
        (try? namesIn("/proc"))?.filter { name in
          let line = try? readText("/proc/\(String(decoding: name, as: UTF8.self))/cmdline")
          return line?.contains("\(folder)/mnt") == true
        }.count == 1 ? true : nil
      }
      #expect(isAlone == true)
      #expect(try call(["stats", "\(folder)/mnt"]).succeeded)
      #expect(try call(["unmount", "\(folder)/mnt"]).succeeded)
    }
  }

  @Test func doctorGivesALineACheck() throws {
    try withFolder { (folder: String) throws in
      let result = try call(["doctor", "file://\(folder)/src", "--cache-dir", "\(folder)/cache"])
      for check in [
        "kernel", "/dev/fuse", "libfuse", "cache", "memory", "clock", "listing", "read",
      ] {
        #expect(result.output.contains(check))
      }
      #expect(
        try call(["doctor", "file://\(folder)/no", "--cache-dir", "\(folder)/cache"]).status
          == .exited(1))
    }
  }
}

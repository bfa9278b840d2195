import ArgumentParser
import Glibc
import ObjectStore

struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor", abstract: "Check this machine and a source, and name what to do.",
    discussion: """
      Each line is a check: ok, info (neither good nor bad), warn, or fail, which ends with exit code 1. Of a \
      source one byte of one file is read, found up to three levels of directories down.

      Example:
        millrace doctor s3://bucket/prefix
      """)

  @Argument(help: "\(SourceAddress.forms)") var source: String?
  @OptionGroup var options: SourceOptions
  @OptionGroup(visibility: .hidden) var mountOptions: MountingOptions

  func run() throws {
    // Without a source the options are checked all the same, against the root directory.
    let settings = try Settings(
      source: source ?? "file:///", options: SharedOptions(options, mountOptions),
      environment: processEnvironment())
    var isBroken = false
    let hasColours = Colour.isUsed(processEnvironment())
    func show(_ finding: Finding) {
      isBroken = isBroken || finding.grade == .fail
      Output.line(
        finding.line, start: finding.grade.rawValue.count, hasColours ? finding.colour : .plain)
      Output.flush()
    }
    for warning in settings.warnings {
      show(Finding(grade: .warn, what: "environment", detail: warning))
    }
    for finding in MachineChecks.all(settings) { show(finding) }
    if source != nil { SourceChecks.run(settings, show) }
    if isBroken { throw ExitCode(1) }
  }
}

/// One line of doctor.
struct Finding {
  enum Grade: String {
    case ok
    /// Neither good nor bad.
    case info
    case warn, fail
  }
  var grade: Grade
  var what: String
  var detail: String
  var advice = ""

  var colour: Colour {
    switch grade {
    case .ok: .green
    case .warn: .yellow
    case .fail: .red
    case .info: .plain
    }
  }

  var line: String {
    let grade = self.grade.rawValue + String(repeating: " ", count: 6 - self.grade.rawValue.count)
    let what = self.what + String(repeating: " ", count: max(14 - self.what.count, 1))
    return SecretMask.masked(
      oneLine(grade + what + detail + (advice.isEmpty ? "" : "; \(advice)")))
  }
}

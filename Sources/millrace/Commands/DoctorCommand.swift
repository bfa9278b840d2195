import ArgumentParser
import Glibc
import ObjectStore

struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor", abstract: "Check this machine, and a source, with what to do.",
    discussion: "Example:\n  millrace doctor s3://bucket/prefix")

  @Argument(help: "s3://BUCKET[/PREFIX], http(s)://HOST/PATH/ or file:///DIR.") var source: String?
  @OptionGroup var options: SharedOptions

  func run() throws {
    // Without a source the options are checked all the same, against the root folder.
    let settings = try Settings(
      source: source ?? "file:///", options: options, environment: processEnvironment())
    var isBroken = false
    func show(_ finding: Finding) {
      isBroken = isBroken || finding.grade == .fail
      Output.line(finding.line)
      Output.flush()
    }
    for finding in MachineChecks.all(settings) { show(finding) }
    if source != nil { SourceChecks.run(settings, show) }
    if isBroken { throw ExitCode(1) }
  }
}

/// One line of doctor's.
struct Finding {
  enum Grade: String { case ok, warn, fail }
  var grade: Grade
  var what: String
  var detail: String
  var advice = ""

  var line: String {
    let grade = self.grade.rawValue + String(repeating: " ", count: 6 - self.grade.rawValue.count)
    let what = self.what + String(repeating: " ", count: max(14 - self.what.count, 1))
    return SecretMask.masked(
      oneLine(grade + what + detail + (advice.isEmpty ? "" : "; \(advice)")))
  }
}

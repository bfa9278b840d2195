import Testing

@testable import millrace

struct PassthroughCheckTests {
  private func check(
    kernel: String = "6.18.0-1-amd64", right: Bool = true, cache: Bool = true, off: Bool = false
  ) -> PassthroughCheck {
    PassthroughCheck(
      kernel: kernel, hasSysAdmin: right, hasCacheFolder: cache, isTurnedOff: off)
  }

  @Test func doctorSaysYesWhereNothingIsMissing() {
    #expect(check().obstacle == nil)
    #expect(check(kernel: "6.9.0").obstacle == nil)
    #expect(check(kernel: "10.0").obstacle == nil)
    #expect(check().finding.line.contains("on: "))
  }

  @Test func doctorNamesWhatIsMissing() {
    #expect(check(kernel: "6.8.12").obstacle?.contains("Linux 6.9") == true)
    #expect(check(kernel: "5.15.0-generic").obstacle?.contains("Linux 6.9") == true)
    #expect(check(kernel: "unknown").obstacle?.contains("Linux 6.9") == true)
    #expect(check(right: false).obstacle?.contains("CAP_SYS_ADMIN") == true)
    #expect(check(cache: false).obstacle?.contains("cache") == true)
    #expect(check(off: true).obstacle == "--no-passthrough")
    let finding = check(right: false).finding
    #expect(finding.grade == .info)
    #expect(finding.line.contains("off: "))
  }
}

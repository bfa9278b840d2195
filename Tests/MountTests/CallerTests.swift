import LinkServer
import Posix
import TestSupport
import Testing

extension MountTests {
  /// Why a reader waits: by process and cause, in stats and top.
  @Suite struct Waiting {
    @Test func whoReadsColdFilesIsSeenWaitingForTheStore() throws {
      let rig = try PrefetchRig(["--prefetch", "off"])
      defer { rig.server.stop() }
      let files = (0..<40).map { "\(rig.mount.path)/d/\(1000 + $0).bin" }
      try CommandResult.check(["cat"] + files, within: .seconds(60))
      let text = try CommandResult.check([Checkout.millrace(), "stats", rig.mount.path, "--json"])
        .output
      // Of `cat`, whose name stands in its account after it has ended.
      let account = try #require(text.firstRange(of: "\"name\" : \"cat\""))
      let start = text[..<account.lowerBound].lastIndex(of: "{")!
      let cat = MountStats(json: String(text[start...]))
      #expect(try cat.number("opens") == 40)
      #expect(try cat.number("bytesFromStore") == 40 * PrefetchRig.size)
      // Forty times 20 ms, of which some may be a turn's: the first byte is the most of it.
      let json = text[start...]
      #expect(share("ttfb", in: json) > share("bandwidth", in: json))
      #expect(share("ttfb", in: json) > share("disk", in: json))
      #expect(share("all", in: json) > 0)
      let said = try CommandResult.check([
        Checkout.millrace(), "top", rig.mount.path, "--once", "--interval", "0.2",
      ]).output
      #expect(said.contains("cat") && said.contains("COMMAND"), "\(said)")
      try rig.mount.unmount()
    }

    /// A number of `waitShare`, which comes after the names of causes in `waitSeconds`.
    private func share(_ name: String, in json: Substring) -> Double {
      guard let shares = json.firstRange(of: "\"waitShare\""),
        let label = json[shares.upperBound...].firstRange(of: "\"\(name)\" : ")
      else { return -1 }
      return Double(json[label.upperBound...].prefix { "0123456789.e-".contains($0) }) ?? -1
    }

    @Test func topRefusesWhatIsNoMountAndOddIntervals() throws {
      let none = try CommandResult.run([Checkout.millrace(), "top", "/", "--once"])
      #expect(none.status == .exited(6) && none.errors.contains("millrace: "), "\(none)")
      let odd = try CommandResult.run([Checkout.millrace(), "top", "/", "--interval", "0"])
      #expect(odd.status == .exited(2) && odd.errors.contains("0.2 to 60"), "\(odd)")
    }
  }
}

import Glibc
import Metrics
import Posix
import TestSupport
import Testing

@testable import FuseFrontEnd

/// What processes counted, while they come and go.
@Suite struct ProcessRegistryTests {
  /// More processes and more names than are counted apart.
  @Test func totalsNeverDecrease() throws {
    let callers = ProcessRegistry(processesMax: 4, namesMax: 2)
    let folder = try TemporaryFolder("callers")
    // The same program by several names: a process is named after its file.
    let names = ["one", "two", "three", "four"].map { folder.path($0) }
    for name in names { try CommandResult.check(["cp", "/bin/sleep", name]) }
    var last = callers.totals(byName: true)
    var children: [ChildProcess] = []
    defer { for child in children { child.end(SIGKILL) } }
    for round in 0..<24 {
      let child = try ChildProcess([names[round % names.count], "600"])
      children.append(child)
      let comm = names[round % names.count].split(separator: "/").last!
      #expect(
        waitFor(within: .seconds(20)) {
          (try? readText("/proc/\(child.pid)/comm")) == "\(comm)\n" ? true : nil
        } == true)
      let account = callers.account(ofThread: child.pid)
      account.opens.add()
      account.hit(100, isFromDisk: true)
      // It waits when it goes, and its time is counted until then.
      account.startsToWait(at: Int64(Instant.now.nanoseconds) - 1_000_000)
      account.waited(1_000_001 * Int64(round + 1), for: .listing)
      if round % 3 == 2 { children.removeFirst().end(SIGKILL) }
      let now = callers.totals(byName: true)
      #expect(now.all.bytesFromDisk == UInt64(100 * (round + 1)))
      #expect(now.all.stalledSeconds > last.all.stalledSeconds)
      #expect(now.all.waitSeconds["listing"]! > last.all.waitSeconds["listing"]!)
      #expect(now.byName.reduce(0) { $0 + $1.opens } == now.all.opens)
      for before in last.byName {
        let after = now.byName.first { $0.name == before.name }
        #expect(after != nil && after!.bytes >= before.bytes && after!.waited >= before.waited)
      }
      last = now
    }
    #expect(last.byName.map(\.name) == ["(other)", "one", "two"])
    #expect(callers.totals(byName: false).byName.isEmpty)
  }
}

import FileSystem
import Glibc
import Posix
import SystemPackage
import Testing

@testable import FuseFrontEnd

/// What the control directory answers to each request of the kernel, without a mount.
@Suite struct ControlRequestTests {
  private static let node = ControlDirectory.firstNode

  /// Orders in force, by name.
  private final class Orders: Sendable {
    let texts = Lock<[String: [UInt8]]>([:])
  }

  private func directory(_ orders: Orders = Orders(), reports: Bool = true) -> ControlDirectory {
    var files = ControlFiles(
      apply: { bytes, name in
        orders.texts.withLock { $0[name] = bytes }
        return nil
      }, remove: { name in orders.texts.withLock { $0.removeValue(forKey: name) != nil } },
      names: { orders.texts.withLock { $0.keys.sorted() } },
      limits: ControlFiles.Limits(file: 1000, total: 2000, name: 100))
    if reports { files.report = { Array("of \($0.rawValue)".utf8) } }
    return ControlDirectory(files)
  }

  private func withName<Result>(
    _ name: String, _ body: (UnsafeRawBufferPointer) -> Result
  ) -> Result {
    Array(name.utf8).withUnsafeBytes(body)
  }

  private func lookUp(
    _ directory: ControlDirectory, _ name: String, in parent: NodeID = node
  ) -> ControlNode? {
    withName(name) {
      guard case .entry(let node) = directory.answer(.lookup(parent: parent, name: $0)) else {
        return nil
      }
      return node
    }
  }

  private func create(
    _ directory: ControlDirectory, _ name: String
  ) -> (node: ControlNode, handle: UInt64)? {
    withName(name) {
      let answer = directory.answer(.create(parent: Self.node, name: $0))
      guard case .created(let node, let handle) = answer else { return nil }
      return (node, handle)
    }
  }

  private func write(
    _ directory: ControlDirectory, _ file: (node: ControlNode, handle: UInt64), _ text: String
  ) -> Int? {
    withName(text) {
      let answer = directory.answer(.write(file.node.number, file.handle, $0, offset: 0))
      guard case .written(let count) = answer else { return nil }
      return count
    }
  }

  private func error(_ answer: ControlAnswer) -> Errno? {
    switch answer {
    case .failed(let error): error
    case .done: Errno(rawValue: 0)
    default: nil
    }
  }

  /// As close(2): waits until the order is in force.
  private func flush(
    _ directory: ControlDirectory, _ file: (node: ControlNode, handle: UInt64)
  ) -> Errno? {
    let answer = directory.answer(.flush(file.node.number, file.handle))
    guard case .flush(let handle) = answer else { return error(answer) }
    let outcome = Monitor<Errno??>(nil)
    directory.flush(handle) { error in outcome.signal(all: true) { $0 = .some(error) } }
    return outcome.wait(until: .now + .seconds(30)) { $0 } ?? .timedOut
  }

  @Test func onlyNodesOfTheDirectoryAndItsNameInTheRootAreItsOwn() {
    withName(".millrace") {
      #expect(ControlDirectory.owns(.lookup(parent: FileSystem.root, name: $0)))
      #expect(!ControlDirectory.owns(.lookup(parent: 77, name: $0)))
    }
    withName("order") {
      #expect(!ControlDirectory.owns(.lookup(parent: FileSystem.root, name: $0)))
      #expect(ControlDirectory.owns(.lookup(parent: Self.node, name: $0)))
      #expect(ControlDirectory.owns(.unlink(parent: Self.node, name: $0)))
    }
    #expect(ControlDirectory.owns(.read(ControlDirectory.orderNode, 1, size: 1, offset: 0)))
    #expect(!ControlDirectory.owns(.read(Self.node - 1, 1, size: 1, offset: 0)))
    #expect(!ControlDirectory.owns(.getattr(FileSystem.root)))
  }

  @Test func anOrderIsCreatedWrittenClosedFoundAndRemoved() throws {
    let orders = Orders()
    let directory = directory(orders)
    defer { directory.shutdown() }
    let found = lookUp(directory, ".millrace", in: FileSystem.root)
    #expect(found == ControlNode(number: Self.node, mode: S_IFDIR | 0o755, nameTimeout: 3600))
    #expect(lookUp(directory, "order.a") == nil)
    let file = try #require(create(directory, "order.a"))
    #expect(file.node.mode == S_IFREG | 0o644 && file.node.nameTimeout == 0)
    #expect(write(directory, file, "x\ny\n") == 4)
    guard
      case .bytes(let back) = directory.answer(
        .read(file.node.number, file.handle, size: 10, offset: 0))
    else {
      Issue.record("an order cannot be read")
      return
    }
    #expect(back.isEmpty)
    #expect(flush(directory, file) == nil)
    #expect(orders.texts.withLock { $0["a"] } == Array("x\ny\n".utf8))
    #expect(error(directory.answer(.release(file.node.number, file.handle))) == Errno(rawValue: 0))
    #expect(lookUp(directory, "order.a") == file.node)
    withName("order.a") {
      #expect(error(directory.answer(.unlink(parent: Self.node, name: $0))) == Errno(rawValue: 0))
      #expect(
        error(directory.answer(.unlink(parent: Self.node, name: $0))) == .noSuchFileOrDirectory)
    }
    #expect(lookUp(directory, "order.a") == nil)
  }

  @Test func aReportIsMadeAtItsOpenAndReadInParts() throws {
    let directory = directory()
    defer { directory.shutdown() }
    let node = try #require(lookUp(directory, "stats.json"))
    #expect(node.mode == S_IFREG | 0o444 && node.nameTimeout == 3600)
    guard case .openReport(let report) = directory.answer(.open(node.number, flags: O_RDONLY))
    else {
      Issue.record("a report cannot be opened")
      return
    }
    let opened = Monitor<Result<UInt64, Errno>?>(nil)
    directory.openReport(report) { result in opened.signal { $0 = result } }
    let handle = try #require(opened.wait(until: .now + .seconds(30)) { $0 }).get()
    let parts = [0, 3, 40].map { (offset: Int64) -> [UInt8]? in
      guard
        case .bytes(let bytes) = directory.answer(
          .read(node.number, handle, size: 8, offset: offset))
      else { return nil }
      return Array(bytes)
    }
    #expect(parts == ["of stats", "stats.js", ""].map { Array($0.utf8) })
    #expect(error(directory.answer(.flush(node.number, handle))) == Errno(rawValue: 0))
    #expect(error(directory.answer(.release(node.number, handle))) == Errno(rawValue: 0))
    #expect(
      error(directory.answer(.read(node.number, handle, size: 8, offset: 0))) == .badFileDescriptor)
  }

  @Test func whatMayNotBeDoneHasItsErrno() {
    let directory = directory()
    defer { directory.shutdown() }
    let report = ControlReports.node(.metrics)
    let order = ControlDirectory.orderNode
    let cases: [(NodeRequest, Errno)] = [
      (.open(Self.node, flags: O_RDONLY), .isDirectory),
      (.open(report, flags: O_WRONLY), .permissionDenied),
      (.open(Self.node + 1000, flags: O_WRONLY), .staleNFSFileHandle),
      (.setattr(report, changesRights: false), .permissionDenied),
      (.setattr(order, changesRights: true), .notPermitted),
      (.listxattr(order, size: 0), .notSupported),
      (.read(report, 77, size: 1, offset: 0), .badFileDescriptor),
      (
        .write(order, 77, UnsafeRawBufferPointer(start: nil, count: 0), offset: 0),
        .badFileDescriptor
      ),
      (.access(order, mask: W_OK), Errno(rawValue: 0)),
      (.releasedir(Self.node, 0), Errno(rawValue: 0)),
    ]
    for (request, expected) in cases {
      #expect(error(directory.answer(request)) == expected, "\(request)")
    }
    for name in ["metrics", "stats.json"] {
      withName(name) {
        #expect(error(directory.answer(.create(parent: Self.node, name: $0))) == .notPermitted)
        #expect(error(directory.answer(.unlink(parent: Self.node, name: $0))) == .notPermitted)
      }
    }
    withName("other") {
      #expect(error(directory.answer(.create(parent: Self.node, name: $0))) == .notPermitted)
      #expect(
        error(directory.answer(.unlink(parent: Self.node, name: $0))) == .noSuchFileOrDirectory)
    }
    // Truncating, which an open for writing does first, and touching do nothing.
    guard case .attributes = directory.answer(.setattr(order, changesRights: false)) else {
      Issue.record("truncating is refused")
      return
    }
  }

  @Test func aListingHasOrdersAndReportsAndReportsOnlyWhereThereAreSome() throws {
    for hasReports in [true, false] {
      let directory = directory(reports: hasReports)
      defer { directory.shutdown() }
      let file = try #require(create(directory, "order.b"))
      #expect(write(directory, file, "x") == 1 && flush(directory, file) == nil)
      let answer = directory.answer(.readdir(Self.node, 0, size: 4096, offset: 2, plus: false))
      guard case .entries(let entries, 2) = answer else {
        Issue.record("no listing")
        return
      }
      let names =
        [".", "..", "order"] + (hasReports ? ["metrics", "stats.json"] : []) + ["order.b"]
      #expect(entries.map(\.name) == names)
      #expect(entries.last?.node == file.node)
      #expect((lookUp(directory, "metrics") != nil) == hasReports)
    }
  }

  /// The kernel has gone, or the program that asked.
  @Test func anAnswerThatIsNotDeliveredLeavesNothing() throws {
    let orders = Orders()
    let directory = directory(orders)
    defer { directory.shutdown() }
    let created = withName("order.a") {
      directory.answer(.create(parent: Self.node, name: $0))
    }
    #expect(directory.nodeCount == 1)
    directory.takeBack(created)
    #expect(directory.nodeCount == 0)
    let file = try #require(create(directory, "order.b"))
    let entry = withName("order.b") { directory.answer(.lookup(parent: Self.node, name: $0)) }
    let opened = directory.answer(.open(file.node.number, flags: O_WRONLY))
    for answer in [entry, opened] { directory.takeBack(answer) }
    directory.forget(file.node.number, count: 1)
    // Still open, from `create`.
    #expect(directory.nodeCount == 1)
    directory.close(file.handle)
    #expect(directory.nodeCount == 0)
    directory.shutdown()
    #expect(orders.texts.withLock(\.isEmpty))
  }

  /// Each rank of a node writes an order at the start of an epoch.
  @Test func ordersThatAreWrittenAtOnceAreEachTheirOwn() {
    let orders = Orders()
    let directory = directory(orders)
    defer { directory.shutdown() }
    let problems = Lock<[String]>([])
    let threads = (0..<4).map { rank in
      Posix.Thread(named: "rank") {
        for round in 0..<200 {
          let text = "\(rank)/\(round)"
          guard let file = create(directory, "order.\(rank)"), write(directory, file, text) != nil,
            flush(directory, file) == nil,
            orders.texts.withLock({ $0["\(rank)"] }) == Array(text.utf8)
          else {
            problems.withLock { $0.append(text) }
            continue
          }
          _ = directory.answer(.release(file.node.number, file.handle))
          directory.forget(file.node.number, count: 1)
        }
      }
    }
    for thread in threads { thread.join() }
    #expect(problems.withLock { $0 } == [])
    #expect(directory.nodeCount == 0)
  }
}

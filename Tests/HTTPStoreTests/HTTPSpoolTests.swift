import Glibc
import ObjectStore
import Posix
import TestSupport
import Testing

@testable import HTTPStore

/// Whole files on disk: never more of them than the disk may give.
@Suite struct HTTPSpoolTests {
  private static let size: UInt64 = 600_000

  private final class Reader: FetchSink {
    let result = Monitor<Result<Void, StoreError>?>(nil)
    let received = Lock(0)
    var isAwaited: Bool { true }
    func waitedForLimit(_ time: Duration) {}
    func beginVerified() {}
    func receive(_ bytes: UnsafeRawBufferPointer) { received.withLock { $0 += bytes.count } }
    func finish(_ result: Result<Void, StoreError>) { self.result.signal { $0 = result } }
    func wait() -> Result<Void, StoreError>? { result.wait(until: .now + .seconds(60)) { $0 } }
    var error: StoreError? {
      if case .failure(let error)? = wait() { return error }
      return nil
    }
  }

  private final class Download: FetchTicket {
    func cancel() {}
  }

  private func request(_ name: String, seconds: Int = 60) -> FetchRequest {
    FetchRequest(
      version: ObjectVersion(key: ObjectKey(name), etag: "", size: Self.size, modified: 0),
      range: 0..<100, deadline: .now + .seconds(seconds))
  }

  /// `sends`: bytes that the server gives of each file.
  private func spool(_ allowance: SpoolAllowance, sends: Int = Int(size)) -> HTTPSpool {
    HTTPSpool(allowance, name: "http://test") { _, sink in
      [UInt8](repeating: 1, count: sends).withUnsafeBytes { sink.receive($0) }
      sink.finish(.success(()))
      return Download()
    }
  }

  @Test func aFileThatDoesNotFitOnTheDiskIsRefusedAndNotDownloaded() throws {
    let scratch = try TemporaryFolder("spool")
    let allowance = SpoolAllowance(folder: scratch.path, floor: 1 << 60)
    let spool = spool(allowance)
    defer { spool.shutdown() }
    let reader = Reader()
    _ = spool.fetch(request("a"), into: reader)
    let error = reader.error
    #expect(error?.kind == .unsupported && error?.store == "http://test")
    #expect(error?.advice.contains("--cache-size") == true)
    #expect(allowance.use == SpoolAllowance.Use())
  }

  @Test func filesTakeTurnsWithinTheAllowanceAndGiveItBack() throws {
    let scratch = try TemporaryFolder("spool")
    let allowance = SpoolAllowance(folder: scratch.path)
    let most = Lock<UInt64>(0)
    // Room for one file and a half.
    allowance.onShortage { [unowned allowance] bytes in
      let all = allowance.use.reserved + bytes
      most.withLock { $0 = max($0, all) }
      return all <= Self.size * 3 / 2
    }
    let spool = spool(allowance)
    let readers = (0..<5).map { _ in Reader() }
    for (index, reader) in readers.enumerated() {
      _ = spool.fetch(request("file \(index)"), into: reader)
    }
    for reader in readers {
      guard case .success? = reader.wait() else {
        Issue.record("\(String(describing: reader.error))")
        continue
      }
      #expect(reader.received.withLock { $0 } == 100)
    }
    #expect(allowance.use.reserved <= Self.size && allowance.use.unwritten == 0)
    spool.shutdown()
  }

  @Test func aServerThatSendsMoreThanItAnnouncedFailsItsReaders() throws {
    let scratch = try TemporaryFolder("spool")
    let spool = spool(SpoolAllowance(folder: scratch.path, floor: 0), sends: Int(Self.size) + 1)
    defer { spool.shutdown() }
    let reader = Reader()
    _ = spool.fetch(request("a"), into: reader)
    #expect(reader.error?.detail.contains("more than") == true)
  }

  @Test func ofADownloadThatIsVerifiedNothingIsGivenBeforeItsEnd() throws {
    let scratch = try TemporaryFolder("spool")
    let sinks = Monitor<[any FetchSink]>([])
    let spool = HTTPSpool(SpoolAllowance(folder: scratch.path, floor: 0), name: "http://test") {
      _, sink in
      sinks.signal { $0.append(sink) }
      return Download()
    }
    defer { spool.shutdown() }
    let reader = Reader()
    _ = spool.fetch(request("a"), into: reader)
    let sink = try #require(sinks.wait(until: .now + .seconds(60)) { $0.first })
    let bytes = [UInt8](repeating: 1, count: Int(Self.size))
    // Damaged, found so, and sent again.
    for _ in 0..<2 {
      sink.beginVerified()
      bytes.withUnsafeBytes { sink.receive($0) }
      #expect(reader.received.withLock { $0 } == 0)
    }
    sink.finish(.success(()))
    guard case .success? = reader.wait() else {
      Issue.record("no bytes")
      return
    }
    #expect(reader.received.withLock { $0 } == 100)

    let unlucky = Reader()
    _ = spool.fetch(request("b"), into: unlucky)
    let other = try #require(
      sinks.wait(until: .now + .seconds(60)) { $0.count > 1 ? $0[1] : nil })
    other.beginVerified()
    bytes.withUnsafeBytes { other.receive($0) }
    other.finish(.failure(StoreError(.badReply, store: "http://test", detail: "damaged")))
    #expect(unlucky.error?.kind == .badReply)
    #expect(unlucky.received.withLock { $0 } == 0)
  }
}

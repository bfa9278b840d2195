import Glibc
import Logging
import ObjectStore
import Posix
import TestSupport
import Testing
import Transport

@testable import Credentials

/// Keys that expire: when they are renewed, and what requests see meanwhile.
@Suite struct RenewalTests {
  /// Gives the next of its answers, the last again and again.
  private final class Source: CredentialsSource {
    typealias Answer = @Sendable () -> Result<Credentials, StoreError>
    let name = "source"
    let isRenewable: Bool
    private struct State {
      var answers: [Answer]
      var asked = 0
      var isOpen: Bool
    }
    private let state: Monitor<State>

    init(isRenewable: Bool = true, isOpen: Bool = true, _ answers: [Answer]) {
      self.isRenewable = isRenewable
      state = Monitor(State(answers: answers, isOpen: isOpen))
    }

    var asked: Int { state.withLock { $0.asked } }
    func open() { state.signal(all: true) { $0.isOpen = true } }

    func fetch(deadline: Instant) throws(StoreError) -> Credentials {
      let answer: Answer? = state.wait(until: .now + .seconds(30)) { state in
        guard state.isOpen else { return nil }
        state.asked += 1
        return state.answers[min(state.asked, state.answers.count) - 1]
      }
      guard let answer else { throw StoreError(.timedOut, store: name, detail: "closed") }
      return try answer().get()
    }
  }

  private static func keys(_ id: String, lifetime: Int64? = nil) -> Credentials {
    Credentials(
      accessKeyID: id, secretAccessKey: "s", source: "source",
      expires: lifetime.map { Int64(time(nil)) + $0 })
  }

  private func provider(_ source: Source, first: Credentials) -> RenewingCredentials {
    RenewingCredentials(
      source, first: first, log: Logger(label: "t", factory: { _ in SwiftLogNoOpLogHandler() }))
  }

  private func id(_ provider: RenewingCredentials) -> String {
    do throws(StoreError) {
      switch try provider.current() {
      case .keys(let keys): return keys.accessKeyID
      case .renewing: return "renewing"
      case .unsigned: return "unsigned"
      }
    } catch {
      return "\(error.kind)"
    }
  }

  private func becomes(_ provider: RenewingCredentials, _ expected: String) -> Bool {
    waitFor(within: .seconds(30)) { id(provider) == expected ? true : nil } == true
  }

  @Test func renewalComesAheadOfExpiryAndNeverTooEarly() {
    for seed in 0..<2000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let now = Int64.random(in: 0...2_000_000_000, using: &random)
      let lifetime = Int64.random(in: -100...100_000, using: &random)
      let renewal = RenewalSchedule.renewal(expires: now + lifetime, now: now, random: &random)
      guard lifetime > 0 else {
        #expect(renewal == nil)
        continue
      }
      guard let renewal else {
        Issue.record("no renewal, seed \(seed)")
        continue
      }
      let ahead = Double(now + lifetime - renewal)
      let usual = min(Double(lifetime) * 0.25, 900)
      #expect(renewal >= now && ahead >= usual - 1 && ahead <= usual * 1.2 + 1, "seed \(seed)")
    }
  }

  @Test func keysAreRenewedWhileTheOldOnesHold() {
    let source = Source([{ .success(Self.keys("new", lifetime: 3600)) }])
    let provider = provider(source, first: Self.keys("old", lifetime: 4))
    defer { provider.shutdown() }
    #expect(id(provider) == "old")
    var seen: Set<String> = []
    let isNew = waitFor(within: .seconds(30)) { () -> Bool? in
      let id = id(provider)
      seen.insert(id)
      return id == "new" ? true : nil
    }
    #expect(isNew == true)
    #expect(seen == ["old", "new"])
    #expect(source.asked == 1)
  }

  @Test func refusedKeysAreRenewedOnceAndRequestsWait() {
    let source = Source(isOpen: false, [{ .success(Self.keys("new")) }])
    let old = Self.keys("old")
    let provider = provider(source, first: old)
    defer { provider.shutdown() }
    for _ in 0..<10 { #expect(provider.renew(insteadOf: old)) }
    #expect(id(provider) == "renewing")
    source.open()
    #expect(becomes(provider, "new"))
    // Who comes late with the old ones is told that there are others.
    #expect(provider.renew(insteadOf: old))
    #expect(id(provider) == "new")
    #expect(source.asked == 1)
  }

  /// Each end of a renewal is signalled, also one that brought nothing: what it waits for is then another.
  @Test func whoFoundNoKeysIsSignalledAtEachEndOfARenewal() {
    let source = Source(
      isOpen: false,
      [
        { .failure(StoreError(.unreachable, store: "s", detail: "gone")) },
        { .success(Self.keys("new")) },
      ])
    let old = Self.keys("old")
    let provider = provider(source, first: old)
    defer { provider.shutdown() }
    func renewing() -> (text: String, signal: ReadinessSignal)? {
      guard case .renewing(let text, let signal)? = try? provider.current() else { return nil }
      return (text, signal)
    }
    #expect(provider.renew(insteadOf: old))
    let first = renewing()
    #expect(first?.text == "source" && first?.signal == renewing()?.signal)
    source.open()
    #expect(first?.signal.wait(until: .now + .seconds(30)) == true)
    // The second try comes within a second or two, and may have been already.
    if let second = renewing() {
      #expect(second.signal != first?.signal && second.text.contains("gone"))
      #expect(second.signal.wait(until: .now + .seconds(30)))
    }
    #expect(id(provider) == "new")
  }

  @Test func aSourceWithTheSameKeysAgainIsBelievedToHaveNoOthers() {
    let source = Source([{ .success(Self.keys("same")) }])
    let same = Self.keys("same")
    let provider = provider(source, first: same)
    defer { provider.shutdown() }
    #expect(provider.renew(insteadOf: same))
    #expect(becomes(provider, "same"))
    #expect(!provider.renew(insteadOf: same))
    #expect(source.asked == 1)
  }

  @Test func fixedKeysAreNotRenewed() {
    let source = Source(isRenewable: false, [{ .success(Self.keys("x")) }])
    let provider = provider(source, first: Self.keys("old"))
    defer { provider.shutdown() }
    #expect(!provider.renew(insteadOf: Self.keys("old")))
    #expect(!FixedCredentials(Self.keys("old")).renew(insteadOf: Self.keys("old")))
  }

  /// Gone, then refusing, then back: requests wait, are told, and go on.
  @Test func aSourceInTroubleIsAskedAgainUntilItGivesKeys() {
    let source = Source([
      { .failure(StoreError(.unreachable, store: "s", detail: "gone")) },
      { .failure(StoreError(.badCredentials, store: "s", detail: "no")) },
      { .success(Self.keys("new", lifetime: 3600)) },
    ])
    let provider = provider(source, first: Self.keys("old", lifetime: 1))
    defer { provider.shutdown() }
    var seen: [String] = []
    let isNew = waitFor(within: .seconds(40)) { () -> Bool? in
      let id = id(provider)
      if seen.last != id { seen.append(id) }
      return id == "new" ? true : nil
    }
    #expect(isNew == true, "\(seen)")
    #expect(seen.first == "old")
    #expect(source.asked == 3)
  }

  @Test func theFileIsReadAgain() throws {
    let folder = try TemporaryFolder("aws")
    func text(_ id: String) -> String {
      "[default]\naws_access_key_id = \(id)\naws_secret_access_key = s\n"
    }
    let variables = [
      "AWS_SHARED_CREDENTIALS_FILE": try folder.file("credentials", text: text("ONE")),
      "AWS_CONFIG_FILE": folder.path("none"), "AWS_EC2_METADATA_DISABLED": "true",
    ]
    let access = try CredentialsResolver(options: CredentialsOptions(), environment: variables)
      .resolve(for: "s3://b")
    defer { access.provider.shutdown() }
    let first = try #require(access.credentials)
    try folder.file("credentials", text: text("TWO"))
    #expect(access.provider.renew(insteadOf: first))
    let found = waitFor(within: .seconds(20)) { () -> String? in
      guard case .keys(let keys)? = try? access.provider.current() else { return nil }
      return keys.accessKeyID
    }
    #expect(found == "TWO")
  }
}

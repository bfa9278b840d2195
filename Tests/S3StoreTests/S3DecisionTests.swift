import Credentials
import Formats
import Glibc
import ObjectStore
import Testing
import Transport

@testable import S3Store

@Suite struct BucketAddressTests {
  private func address(
    _ bucket: String, _ url: String? = nil, region: String? = nil, pathStyle: Bool? = nil
  ) throws -> BucketAddress {
    try BucketAddress(
      options: S3Options(
        bucket: bucket, endpointURL: url, region: region, pathStyle: pathStyle))
  }

  @Test func awsPutsTheBucketIntoTheHostNameWhereItCan() throws {
    let plain = try address("data", region: "eu-west-1")
    #expect(plain.host == "data.s3.eu-west-1.amazonaws.com")
    #expect(plain.path(nil) == "/")
    #expect(plain.path(ObjectKey("a b/c+d")) == "/a%20b/c%2Bd")
    for name in ["my.data", "My_Data", "x"] {
      let path = try address(name)
      #expect(path.host == "s3.us-east-1.amazonaws.com")
      #expect(path.path(ObjectKey("k")) == "/\(name)/k")
    }
    #expect(try address("data", region: "cn-north-1").host.hasSuffix("amazonaws.com.cn"))
  }

  @Test func customEndpointsGetThePathUnlessToldOtherwise() throws {
    let path = try address("data", "http://Minio.Local:9000/base/")
    #expect(path.host == "minio.local:9000")
    #expect(path.path(ObjectKey("/k")) == "/base/data//k")
    #expect(path.path(nil) == "/base/data")
    #expect(try address("data", "https://h.example", pathStyle: false).host == "data.h.example")
    #expect(throws: StoreError.self) {
      try address("data", "http://127.0.0.1:9000", pathStyle: false)
    }
    #expect(throws: StoreError.self) {
      try address("my.data", "https://h.example", pathStyle: false)
    }
  }

  @Test func theSchemesOwnPortIsLeftOut() throws {
    #expect(try address("data", "https://h:443").host == "h")
    #expect(try address("data", "http://h:443").host == "h:443")
    #expect(try address("data", "http://[::1]:80").host == "[::1]")
  }

  @Test(arguments: [
    "", "h", "ftp://h", "http://", "http:///x", "http://user@h", "http://h:x", "http://h:0",
    "http://h/?q", "http://h h", "http://[::1", "http://h:99999", "http://bücher.example",
  ])
  func endpointsThatAreNoneAreRefused(url: String) {
    #expect(throws: StoreError.self) { try address("data", url) }
  }

  @Test(arguments: ["", "..", "a/b", "a b", "a\u{0}", "bücher", "a?b", "arn:aws:s3:::x"])
  func bucketNamesThatAreNoneAreRefused(name: String) {
    #expect(throws: StoreError.self) { try address(name) }
  }

  @Test func regionsThatWouldChangeTheHostAreRefused() {
    for region in ["evil.example/", "a.b", "", "-x", "UP"] {
      #expect(throws: StoreError.self) { try address("data", region: region) }
    }
  }

  @Test func identityNamesEndpointAndBucketAndNotTheRegion() throws {
    #expect(try address("d", region: "r1").identity == address("d", region: "r2").identity)
    #expect(try address("d", "http://h:1").identity != address("d", "http://h:2").identity)
  }
}

@Suite struct S3ReactionTests {
  private func react(
    _ status: Int, _ code: String = "", region: String? = nil, endpoint: String? = nil,
    subject: S3Reaction.Subject = .object, isSigned: Bool = true
  ) -> S3Reaction {
    var failure = S3Failure(status: status, code: code)
    failure.region = region
    failure.endpoint = endpoint
    return S3Reaction.to(
      failure, subject: subject, isSigned: isSigned, region: "us-east-1", isAWS: true)
  }

  private func kind(_ reaction: S3Reaction) -> StoreError.Kind? {
    if case .fail(let kind, _, _) = reaction { return kind }
    if case .renewKeys = reaction { return .badCredentials }
    return nil
  }

  @Test func codesBecomeKinds() {
    let table: [(Int, String, StoreError.Kind)] = [
      (404, "NoSuchBucket", .noSuchStore), (404, "NoSuchKey", .notFound),
      (403, "AccessDenied", .accessDenied), (403, "InvalidAccessKeyId", .badCredentials),
      (403, "SignatureDoesNotMatch", .badCredentials), (400, "ExpiredToken", .badCredentials),
      (400, "InvalidToken", .badCredentials), (403, "InvalidObjectState", .archived),
      (412, "PreconditionFailed", .changed), (416, "InvalidRange", .changed),
      (404, "", .notFound), (403, "", .accessDenied), (400, "", .badCredentials),
      (405, "MethodNotAllowed", .unsupported), (418, "", .badReply),
    ]
    for (status, code, expected) in table { #expect(kind(react(status, code)) == expected) }
    #expect(kind(react(404, subject: .listing)) == .noSuchStore)
  }

  @Test func whatIsDeniedNamesTheActionThatItTakes() {
    func advice(_ subject: S3Reaction.Subject, isSigned: Bool = true) -> String {
      guard
        case .fail(.accessDenied, _, let advice) = react(
          403, "AccessDenied", subject: subject, isSigned: isSigned)
      else { return "" }
      return advice
    }
    #expect(advice(.object).contains("s3:GetObject ") && !advice(.object).contains("ListBucket"))
    #expect(advice(.version).contains("s3:GetObjectVersion "))
    #expect(advice(.listing).contains("s3:ListBucket ") && !advice(.listing).contains("GetObject"))
    #expect(advice(.object, isSigned: false).contains("--no-sign-request"))
  }

  @Test func whatPassesIsTriedAgain() {
    for (status, code) in [(503, "SlowDown"), (429, ""), (503, ""), (200, "SlowDown")] {
      #expect(react(status, code) == .retry(.throttled, isThrottle: true))
    }
    for (status, code) in [(500, "InternalError"), (502, ""), (504, ""), (400, "RequestTimeout")] {
      #expect(react(status, code) == .retry(.serverFailure, isThrottle: false))
    }
  }

  @Test func anotherRegionIsLearnedFromHeaderBodyOrEndpoint() {
    #expect(react(301, "PermanentRedirect", region: "eu-west-1") == .learnRegion("eu-west-1"))
    #expect(react(400, "AuthorizationHeaderMalformed", region: "r") == .learnRegion("r"))
    #expect(react(400, region: "r") == .learnRegion("r"))
    #expect(
      react(307, "TemporaryRedirect", endpoint: "b.s3.us-west-2.amazonaws.com")
        == .learnRegion("us-west-2"))
    #expect(react(301, endpoint: "b.s3-eu-west-1.amazonaws.com") == .learnRegion("eu-west-1"))
  }

  @Test func aRegionThatIsNoneOrTheSameIsNotLearned() {
    #expect(kind(react(301, region: "evil.example/")) == .noSuchStore)
    #expect(kind(react(301, region: "us-east-1")) == .noSuchStore)
    #expect(kind(react(403, "AccessDenied", region: "eu-west-1")) == .accessDenied)
    #expect(kind(react(301, endpoint: "attacker.example")) == .noSuchStore)
  }

  @Test func theClockIsCorrectedFromTheStores() {
    var failure = S3Failure(status: 403, code: "RequestTimeTooSkewed")
    failure.serverTime = 5
    let reaction = S3Reaction.to(
      failure, subject: .object, isSigned: true, region: "r", isAWS: true)
    #expect(reaction == .correctClock(serverTime: 5))
    #expect(kind(react(403, "RequestTimeTooSkewed")) == .badCredentials)
  }
}

@Suite struct S3SiteTests {
  @Test func lessonsAreDrawnOnceAndChangeTheNextRequest() throws {
    let site = try S3Site(
      options: S3Options(bucket: "data"),
      credentials: FixedCredentials(
        Credentials(accessKeyID: "AK", secretAccessKey: "s", source: "test")))
    var attempt = S3Site.Attempt()
    var request = try site.request(.get, key: ObjectKey("k"), attempt: &attempt).get()
    #expect(request.url == "https://data.s3.us-east-1.amazonaws.com/k")
    var failure = S3Failure(status: 301)
    failure.region = "eu-west-1"
    guard case .again = site.verdict(failure, subject: .object, key: nil, attempt: &attempt)
    else { return #expect(Bool(false), "not asked again") }
    request = try site.request(.get, key: ObjectKey("k"), attempt: &attempt).get()
    #expect(request.url == "https://data.s3.eu-west-1.amazonaws.com/k")
    let line = try #require(request.headers.first { $0.name == "authorization" }?.value)
    #expect(line.contains("/eu-west-1/s3/aws4_request"))
    failure.region = "us-west-2"
    guard case .failed = site.verdict(failure, subject: .object, key: nil, attempt: &attempt)
    else { return #expect(Bool(false), "went round") }
    var skewed = S3Failure(status: 403, code: "RequestTimeTooSkewed")
    // By more than a day nothing is corrected: that clock needs its owner.
    skewed.serverTime = 951_782_400  // 2000-02-29
    var other = S3Site.Attempt()
    guard case .failed = site.verdict(skewed, subject: .object, key: nil, attempt: &other)
    else { return #expect(Bool(false), "a clock of another century") }
    skewed.serverTime = Int64(time(nil)) + 80_000
    guard case .again = site.verdict(skewed, subject: .object, key: nil, attempt: &attempt)
    else { return #expect(Bool(false), "clock") }
    request = try site.request(.get, key: nil, attempt: &attempt).get()
    let stamp = Array(try #require(request.headers.first { $0.name == "x-amz-date" }?.value))
    let day = [stamp[..<4], stamp[4..<6], stamp[6..<8]].map { String($0) }.joined(separator: "-")
    let hour = [stamp[9..<11], stamp[11..<13], stamp[13..<15]].map { String($0) }
    let signed = try #require(UTCTime.zoned("\(day)T\(hour.joined(separator: ":"))Z"))
    #expect(abs(signed - Int64(time(nil)) - 80_000) < 300)
    guard case .failed = site.verdict(skewed, subject: .object, key: nil, attempt: &attempt)
    else { return #expect(Bool(false), "clock twice") }
  }

  /// Who can change an answer on its way must not choose the time of our signatures.
  @Test func theClockIsTakenFromNoAnswerWithoutTLSNorFromADayAway() throws {
    let hour: Int64 = 3600
    for (endpoint, offset, isTaken) in [
      (nil, 23 * hour, true), (nil, -23 * hour, true), (nil, 25 * hour, false),
      (nil, -25 * hour, false), (nil, Int64.max / 2, false), ("http://store.lan:9000", hour, false),
      ("http://10.0.0.1:9000", hour, false), ("https://store.lan:9000", hour, true),
      ("http://127.0.0.1:9000", hour, true), ("http://localhost:9000", hour, true),
      ("http://[::1]:9000", hour, true),
    ] as [(String?, Int64, Bool)] {
      let site = try S3Site(
        options: S3Options(bucket: "data", endpointURL: endpoint),
        credentials: FixedCredentials(
          Credentials(accessKeyID: "AK", secretAccessKey: "s", source: "test")))
      var attempt = S3Site.Attempt()
      _ = try site.request(.get, key: nil, attempt: &attempt).get()
      var skewed = S3Failure(status: 403, code: "RequestTimeTooSkewed")
      skewed.serverTime = Int64(time(nil)) + offset
      let verdict = site.verdict(skewed, subject: .object, key: nil, attempt: &attempt)
      if case .again = verdict {
        #expect(isTaken, "\(endpoint ?? "AWS") \(offset)")
      } else {
        #expect(!isTaken, "\(endpoint ?? "AWS") \(offset)")
      }
    }
  }

  @Test func failsFastOnlyWhereItWouldNotHelpToWait() throws {
    let site = try S3Site(options: S3Options(bucket: "data"), credentials: FixedCredentials(nil))
    for kind in [TransferFailure.Kind.nameNotResolved, .connectionRefused, .tls] {
      let failure = TransferFailure(kind, detail: "x")
      guard case .failed = site.verdict(failure, key: nil, failsFast: true),
        case .retry = site.verdict(failure, key: nil)
      else { return #expect(Bool(false), "\(kind)") }
    }
    guard
      case .retry = site.verdict(
        TransferFailure(.connectionLost, detail: "x"), key: nil, failsFast: true)
    else { return #expect(Bool(false)) }
  }
}

@Suite struct S3FetchProgressTests {
  private let version = ObjectVersion(key: ObjectKey("k"), etag: "\"e\"", size: 100, modified: 5)

  private func head(_ status: Int, _ headers: [String: String]) -> HTTPResponseHead {
    HTTPResponseHead(
      status: status,
      headers: headers.sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) })
  }

  @Test func onlyTheAskedForBytesOfTheAskedForVersionAreGood() {
    let progress = S3FetchProgress(version: version, range: 10..<20)
    func judge(_ range: String, etag: String? = "\"e\"", length: String = "10")
      -> S3FetchProgress.Judgement
    {
      var headers = ["content-range": range, "content-length": length]
      headers["etag"] = etag
      return progress.judge(head(206, headers))
    }
    #expect(judge("bytes 10-19/100") == .good)
    #expect(judge("bytes 10-19/100", etag: "e") == .good)
    #expect(judge("bytes 10-19/100", etag: "W/\"e\"") == .good)
    func isChanged(_ judgement: S3FetchProgress.Judgement) -> Bool {
      if case .changed = judgement { return true }
      return false
    }
    func isBad(_ judgement: S3FetchProgress.Judgement) -> Bool {
      if case .bad = judgement { return true }
      return false
    }
    // Another size under the same ETag is no version, but an answer that contradicts itself.
    #expect(isBad(judge("bytes 10-19/101")))
    #expect(isChanged(judge("bytes 10-19/100", etag: "\"f\"")))
    #expect(isBad(judge("bytes 10-19/100", etag: nil)))
    #expect(isBad(judge("bytes 10-18/100")))
    #expect(isBad(judge("bytes 0-9/100")))
    #expect(isBad(judge("bytes 10-19/100", length: "11")))
    #expect(isBad(judge("bytes 10-19/*")))
    #expect(isBad(judge("nonsense")))
    #expect(isBad(progress.judge(head(206, ["etag": "\"e\""]))))
    #expect(isBad(progress.judge(head(200, ["etag": "\"e\"", "content-length": "100"]))))
    #expect(isBad(progress.judge(head(200, ["etag": "\"e\"", "content-length": "99"]))))
  }

  @Test func aWholeObjectMayComeAs200() {
    let progress = S3FetchProgress(version: version, range: 0..<100)
    #expect(progress.judge(head(200, ["etag": "\"e\"", "content-length": "100"])) == .good)
  }

  @Test func aRangeMayComeAs200WhereItsLengthShowsIt() {
    let progress = S3FetchProgress(version: version, range: 10..<20)
    var headers = ["etag": "\"e\"", "content-range": "bytes 10-19/100"]
    #expect(progress.judge(head(200, headers)) != .good)
    headers["content-length"] = "100"
    #expect(progress.judge(head(200, headers)) != .good)
    headers["content-length"] = "10"
    #expect(progress.judge(head(200, headers)) == .good)
    headers["content-range"] = "bytes 0-9/100"
    #expect(progress.judge(head(200, headers)) != .good)
  }

  private func take(_ count: Int, of progress: inout S3FetchProgress) -> Bool {
    [UInt8](repeating: 0, count: count).withUnsafeBytes { progress.take($0) }
  }

  @Test func aResumedFetchAsksForTheRemainder() {
    var progress = S3FetchProgress(version: version, range: 10..<20)
    #expect(progress.headers.map(\.value) == ["bytes=10-19", "\"e\""])
    var fits = take(4, of: &progress)
    #expect(fits)
    #expect(progress.headers.map(\.value) == ["bytes=14-19", "\"e\""])
    #expect(
      progress.judge(head(206, ["content-range": "bytes 10-19/100", "etag": "\"e\""])) != .good)
    #expect(
      progress.judge(head(206, ["content-range": "bytes 14-19/100", "etag": "\"e\""])) == .good)
    fits = take(7, of: &progress)
    #expect(!fits)
    fits = take(6, of: &progress)
    #expect(fits)
    #expect(progress.isComplete)
  }

  @Test func withoutAnETagTheTimeIsCompared() {
    let plain = ObjectVersion(key: ObjectKey("k"), etag: "", size: 100, modified: 1_795_432_500)
    let progress = S3FetchProgress(version: plain, range: 0..<100)
    let same = ["last-modified": "Mon, 23 Nov 2026 11:15:00 GMT", "content-length": "100"]
    #expect(progress.judge(head(200, same)) == .good)
    let later = ["last-modified": "Mon, 23 Nov 2026 11:15:01 GMT", "content-length": "100"]
    #expect(progress.judge(head(200, later)) != .good)
  }
}

import Credentials
import ObjectStore
import TestSupport
import Testing
import Transport

@testable import S3Store

/// What reading options put into requests.
@Suite struct ReadingOptionTests {
  private func request(_ options: S3Options, key: String? = "k") throws -> HTTPRequest {
    let keys = Credentials(accessKeyID: "K", secretAccessKey: "s", source: "t")
    let site = try S3Site(options: options, credentials: FixedCredentials(keys))
    var attempt = S3Site.Attempt()
    return try site.request(.get, key: key.map { ObjectKey($0) }, attempt: &attempt).get()
  }

  private func value(_ name: String, in request: HTTPRequest) -> String? {
    request.headers.first { $0.name == name }?.value
  }

  @Test func whatTheUserSaidIsSentAndSigned() throws {
    var options = S3Options(bucket: "data")
    options.requesterPays = true
    options.expectedOwner = "123456789012"
    options.customerKey = Array(0..<32)
    let object = try request(options)
    #expect(value("x-amz-request-payer", in: object) == "requester")
    #expect(value("x-amz-expected-bucket-owner", in: object) == "123456789012")
    let prefix = "x-amz-server-side-encryption-customer-"
    #expect(value(prefix + "algorithm", in: object) == "AES256")
    #expect(
      value(prefix + "key", in: object) == "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    #expect(value(prefix + "key-md5", in: object) == "tP/LI3N87DFaSk0aoqYgzg==")
    let signature = try #require(value("authorization", in: object))
    for name in ["x-amz-request-payer", "x-amz-expected-bucket-owner", prefix + "key"] {
      #expect(signature.contains(name))
    }
    // The key is of objects and not of listings.
    #expect(value(prefix + "key", in: try request(options, key: nil)) == nil)
  }

  @Test func aCustomerKeyIsNotSentInTheClear() {
    var options = S3Options(bucket: "data", endpointURL: "http://store.example")
    options.customerKey = Array(0..<32)
    #expect(throws: StoreError.self) { try request(options) }
    options.customerKey = Array(0..<31)
    options.endpointURL = nil
    #expect(throws: StoreError.self) { try request(options) }
  }

  @Test func accessPointsAndZonesAreSignedForTheirService() throws {
    for (bucket, service) in [
      ("arn:aws:s3-object-lambda:us-east-1:123456789012:accesspoint/ap", "s3-object-lambda"),
      ("n--use1-az4--x-s3", "s3express"), ("data", "s3"),
    ] {
      var options = S3Options(bucket: bucket, region: "us-east-1")
      options.usesSessions = false
      let signed = try request(options)
      #expect(
        value("authorization", in: signed)?.contains("/us-east-1/\(service)/aws4_request") == true)
      #expect(value("x-amz-content-sha256", in: signed) != nil)
    }
  }

  @Test func aDirectoryBucketIsReadBySessions() throws {
    let folder = try TemporaryFolder("session")
    let port = try freePorts(1)[0]
    let services = try ServerProcess(
      ["python3", Checkout.tools + "/keys.py", "serve", String(port)], port: port,
      log: folder.path("log"))
    defer { services.stop() }
    let keys = Credentials(accessKeyID: "AKIABASE", secretAccessKey: "s", source: "t")
    var options = S3Options(
      bucket: "n--use1-az4--x-s3", endpointURL: "http://127.0.0.1:\(port)", region: "us-east-1")
    let site = try S3Site(options: options, credentials: FixedCredentials(keys))
    defer { site.endRenewals() }
    var attempt = S3Site.Attempt()
    let signed = try site.request(.get, key: ObjectKey("k"), attempt: &attempt).get()
    #expect(value("x-amz-s3session-token", in: signed)?.hasPrefix("token-of-ASIA") == true)
    #expect(value("x-amz-security-token", in: signed) == nil)
    #expect(value("authorization", in: signed)?.contains("AKIABASE") == false)
    // An expired session is opened anew, and the request asked again.
    var failure = S3Failure(status: 400, code: "ExpiredToken")
    failure.message = "x"
    guard
      case .again = site.verdict(
        failure, subject: .object, key: ObjectKey("k"), attempt: &attempt)
    else {
      Issue.record("an expired session is no end")
      return
    }
    options.usesSessions = false
    let plain = try S3Site(options: options, credentials: FixedCredentials(keys))
    let direct = try plain.request(.get, key: ObjectKey("k"), attempt: &attempt).get()
    #expect(value("authorization", in: direct)?.contains("AKIABASE") == true)
  }
}

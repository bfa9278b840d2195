import Formats

/// An access point by its ARN: `arn:PARTITION:SERVICE:REGION:ACCOUNT:accesspoint/NAME` (":" does in place
/// of "/"), on an Outpost `...:outpost/ID/accesspoint/NAME`.
struct BucketARN: Equatable, Sendable {
  var partition: String
  /// Also what requests are signed for: s3, s3-object-lambda, s3-outposts.
  var service: String
  var region: String
  var account: String
  var outpost: String?
  var name: String

  struct Malformed: Error, Equatable {
    var reason: String
    /// It is one, but of a kind that is not built.
    var isUnsupported = false
  }

  init(_ text: String) throws(Malformed) {
    let parts = text.split(separator: ":", maxSplits: 5, omittingEmptySubsequences: false)
      .map(String.init)
    guard parts.count == 6, parts[0] == "arn", !parts[5].isEmpty else {
      throw Malformed(
        reason: "an ARN looks like arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME")
    }
    partition = parts[1]
    service = parts[2]
    region = parts[3]
    account = parts[4]
    guard ["s3", "s3-object-lambda", "s3-outposts"].contains(service) else {
      throw Malformed(reason: "an ARN of the service '\(service)' is not a bucket")
    }
    let words = parts[5].split(omittingEmptySubsequences: false) { $0 == ":" || $0 == "/" }
      .map(String.init)
    if region.isEmpty, service == "s3" {
      throw Malformed(
        reason:
          "multi-region access points need SigV4A signatures, which are not supported; name the access "
          + "point or bucket of one region", isUnsupported: true)
    }
    guard BucketAddress.isRegion(region) else {
      throw Malformed(reason: "'\(region)' in the ARN cannot be a region's name")
    }
    guard Self.isWord(account) else {
      throw Malformed(reason: "'\(account)' in the ARN cannot be an account")
    }
    if service == "s3-outposts" {
      guard words.count == 4, words[0] == "outpost", words[2] == "accesspoint",
        Self.isWord(words[1])
      else { throw Malformed(reason: "an Outpost's ARN ends in outpost/ID/accesspoint/NAME") }
      outpost = words[1]
      name = words[3]
    } else {
      guard words.count == 2, words[0] == "accesspoint" else {
        throw Malformed(reason: "the ARN must end in accesspoint/NAME")
      }
      name = words[1]
    }
    guard Self.isWord(name), name.utf8.count <= 63 else {
      throw Malformed(reason: "'\(name)' cannot be an access point's name")
    }
  }

  /// It becomes part of a host name.
  private static func isWord(_ text: String) -> Bool {
    !text.isEmpty && text.utf8.count <= 63
      && text.utf8.allSatisfy { PercentEncoding.isAlphanumeric($0) || $0 == UInt8(ascii: "-") }
  }

  /// "myendpoint-123456789012".
  var label: String { "\(name)-\(account)" }
}

/// The parts of AWS that know nothing of each other.
struct AWSPartition: Equatable {
  var name: String
  var suffix: String

  static func of(region: String) -> AWSPartition {
    let table = [
      ("cn-", "aws-cn", "amazonaws.com.cn"), ("us-gov-", "aws-us-gov", "amazonaws.com"),
      ("us-iso-", "aws-iso", "c2s.ic.gov"), ("us-isob-", "aws-iso-b", "sc2s.sgov.gov"),
      ("eu-isoe-", "aws-iso-e", "cloud.adc-e.uk"), ("us-isof-", "aws-iso-f", "csp.hci.ic.gov"),
      ("eusc-", "aws-eusc", "amazonaws.eu"),
    ]
    for (prefix, name, suffix) in table where region.hasPrefix(prefix) {
      return AWSPartition(name: name, suffix: suffix)
    }
    return AWSPartition(name: "aws", suffix: "amazonaws.com")
  }
}

import Formats

/// Rules for bucket names: what AWS has ever allowed, so that old buckets and other stores' work.
enum BucketName {
  /// What is wrong with the name, in words; `nil`: nothing.
  static func complaint(_ name: String) -> String? {
    if name.isEmpty { return "the bucket's name is missing: s3://BUCKET[/PREFIX]" }
    if name.utf8.count > 255 { return "the bucket's name is longer than 255 characters" }
    if name == "." || name == ".." { return "'\(name)' cannot be a bucket's name" }
    for byte in name.utf8 where !isAllowed(byte) {
      return "'\(name)' cannot be a bucket's name: letters, digits, '.', '-' and '_' are allowed"
    }
    return nil
  }

  /// One lower-case DNS label: it can stand before the endpoint's host under a wildcard certificate.
  static func isLabel(_ name: String) -> Bool {
    (3...63).contains(name.utf8.count) && isPart(name)
  }

  /// Lower case, and a hyphen at neither end.
  private static func isPart(_ label: some StringProtocol) -> Bool {
    let bytes = label.utf8
    return !bytes.isEmpty && bytes.first != hyphen && Array(bytes).last != hyphen
      && bytes.allSatisfy { $0 == hyphen || isDigit($0) || (0x61...0x7A).contains($0) }
  }

  /// Labels joined by dots: good in a host name where no certificate is checked.
  static func isHostName(_ name: String) -> Bool {
    let labels = name.split(separator: ".", omittingEmptySubsequences: false)
    return (3...63).contains(name.utf8.count)
      && labels.allSatisfy { isPart($0) }
      && !labels.allSatisfy { $0.utf8.allSatisfy(isDigit) }
  }

  private static let hyphen = UInt8(ascii: "-")

  private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }

  private static func isAllowed(_ byte: UInt8) -> Bool {
    PercentEncoding.isAlphanumeric(byte) || "-._".utf8.contains(byte)
  }
}

import Formats
import Transport

extension StoreChecksum {
  /// `nil`: the answer says nothing that can be compared. `takesETag`: an ETag that has the form of an
  /// MD5 is one.
  init?(_ head: HTTPResponseHead, takesETag: Bool) {
    if head["x-amz-checksum-type"]?.uppercased() != "COMPOSITE" {
      for algorithm in Algorithm.allCases {
        if let text = head["x-amz-checksum-\(algorithm.rawValue)"], let sum = Base64.decode(text),
          sum.count == algorithm.length
        {
          self.init(algorithm, expected: sum)
          return
        }
      }
    }
    guard takesETag, let sum = Self.md5(ofETag: head) else { return nil }
    self.init(.md5, expected: sum)
  }

  /// The ETag is the MD5 of the content unless it came in parts or is encrypted by a key of KMS or of the
  /// customer's.
  private static func md5(ofETag head: HTTPResponseHead) -> [UInt8]? {
    if head["x-amz-server-side-encryption"]?.lowercased().hasPrefix("aws:kms") == true {
      return nil
    }
    if head["x-amz-server-side-encryption-customer-algorithm"] != nil { return nil }
    return head["etag"].flatMap { digest(ofETag: $0, length: Algorithm.md5.length) }
  }
}

import Crypto
import Formats
import ObjectStore

/// What requests for objects carry that are encrypted with a key of the customer's own (SSE-C).
enum CustomerKeyHeaders {
  /// The headers of SSE-C. The key goes with each request, so never in the clear over a network.
  static func of(
    _ options: S3Options, _ address: BucketAddress
  ) throws(StoreError) -> [(name: String, value: String)] {
    guard let key = options.customerKey else { return [] }
    let store = "s3://\(options.bucket)"
    guard key.count == 32 else {
      throw StoreError(
        .invalidSource, store: store, detail: "an SSE-C key has 32 bytes, this one \(key.count)")
    }
    let host = address.host.prefix { $0 != ":" }
    guard address.scheme == "https" || host == "localhost" || host.hasPrefix("127.") else {
      throw StoreError(
        .invalidSource, store: store, detail: "an SSE-C key is not sent without TLS",
        advice: "give an https --endpoint-url")
    }
    let prefix = "x-amz-server-side-encryption-customer-"
    return [
      (prefix + "algorithm", "AES256"), (prefix + "key", Base64.encode(key)),
      (prefix + "key-md5", Base64.encode(Array(Insecure.MD5.hash(data: key)))),
    ]
  }
}

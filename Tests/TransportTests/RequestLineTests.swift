import Testing

@testable import Transport

/// A request as the log shows it at level debug.
@Suite struct RequestLineTests {
  @Test func aLineHasWhatWasRequestedAndNoSecret() {
    let table: [(String, String)] = [
      ("https://h:9000/b/k", "h:9000/b/k"),
      ("https://u:canary@h/p", "h/p"),
      ("https://h/p?sig=canary&prefix=a%2F", "h/p?sig=***&prefix=a%2F"),
      ("https://h/p?canary", "h/p?***"),
      (
        "https://b.h/?list-type=2&max-keys=1&X-Amz-Signature=canary",
        "b.h/?list-type=2&max-keys=1&X-Amz-Signature=***"
      ),
      ("https://h/p#canary", "h/p"),
      ("https://h?x=canary", "h?x=***"),
    ]
    for (url, shown) in table { #expect(RequestLine.address(url) == shown, "\(url)") }
    let request = HTTPRequest(
      url: "https://h/k",
      headers: [("Range", "bytes=0-9"), ("Authorization", "canary")])
    #expect(RequestLine.label(request) == "GET h/k bytes=0-9")
  }

  @Test func aLineSaysHowTheAttemptEnded() {
    #expect(
      RequestLine.ended(
        "GET h/k", status: 206, received: 1200, after: .microseconds(12_300),
        firstByte: .microseconds(9_100), error: "") == "GET h/k 206 1200 B 12.3 ms (TTFB 9.1 ms)")
    #expect(
      RequestLine.ended(
        "GET h/k", status: nil, received: 0, after: .milliseconds(5), firstByte: nil,
        error: "refused") == "GET h/k no response 5.0 ms: refused")
  }
}

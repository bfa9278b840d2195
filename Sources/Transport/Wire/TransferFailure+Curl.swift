import CCurlShim

extension TransferFailure {
  /// What libcurl's code means. `text` is what its error buffer holds; `wasSent` tells that a
  /// connection had been made.
  init(curl code: CURLcode, text: String, wasSent: Bool) {
    let words = text.isEmpty ? String(cString: curl_easy_strerror(code)) : text
    self.init(Self.kind(code, words: words, wasSent: wasSent), detail: words)
  }

  private static func kind(_ code: CURLcode, words: String, wasSent: Bool) -> Kind {
    switch code {
    case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY:
      return .nameNotResolved
    case CURLE_COULDNT_CONNECT:
      return .connectionRefused
    case CURLE_OPERATION_TIMEDOUT:
      return wasSent ? .stalled : .connectTimedOut
    case CURLE_PARTIAL_FILE:
      return .truncated
    case CURLE_GOT_NOTHING, CURLE_SEND_ERROR, CURLE_RECV_ERROR:
      return words.contains("chunked-encoding") ? .malformed : .connectionLost
    case CURLE_SSL_CONNECT_ERROR:
      // A connection that broke during the handshake says nothing against the certificate.
      let isBroken = ["reset by peer", "SSL_ERROR_SYSCALL", "unexpected eof", "timed out"]
        .contains { words.contains($0) }
      return isBroken ? .connectionLost : .tls
    case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_CERTPROBLEM,
      CURLE_SSL_CIPHER, CURLE_SSL_ISSUER_ERROR, CURLE_SSL_INVALIDCERTSTATUS,
      CURLE_SSL_ENGINE_NOTFOUND, CURLE_SSL_ENGINE_SETFAILED, CURLE_USE_SSL_FAILED:
      return .tls
    case CURLE_WEIRD_SERVER_REPLY, CURLE_BAD_CONTENT_ENCODING:
      return .malformed
    case CURLE_UNSUPPORTED_PROTOCOL:
      // Either the URL's scheme or the answer's status line.
      return words.contains("HTTP") ? .malformed : .other
    default:
      return .other
    }
  }
}

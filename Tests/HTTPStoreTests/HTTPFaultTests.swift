import Metrics
import ObjectStore
import TestSupport
import Testing

@testable import HTTPStore

/// Against a server that does what servers do on bad days. `/WAY/f` is the same file each time.
@Suite(.serialized, .enabled(if: requireOrSkip(.program("python3")))) struct HTTPFaultTests {
  /// The file: 300,000 bytes, byte n is n * 7 mod 251.
  private static let file = (0..<300_000).map { UInt8($0 * 7 % 251) }

  private static let program = #"""
    import sys, collections
    from http.server import ThreadingHTTPServer, BaseHTTPRequestHandler
    DATA = bytes(i * 7 % 251 for i in range(300000))
    seen = collections.Counter()
    class Handler(BaseHTTPRequestHandler):
      protocol_version = "HTTP/1.1"
      def log_message(self, *a): pass
      def reply(self, status, headers, body=b"", cut=None):
        self.send_response(status)
        for k, v in headers.items(): self.send_header(k, v)
        if "Content-Length" not in headers and not self.close_connection:
          self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if cut is None else body[:cut])
        if cut is not None: self.close_connection = True
      def do_GET(self):
        way = self.path.split("/")[1]
        seen[way] += 1
        r = self.headers.get("Range")
        low, high = 0, len(DATA) - 1
        if r: low, high = [int(x) for x in r[6:].split("-")]
        high = min(high, len(DATA) - 1)
        part = {"Content-Range": "bytes %d-%d/%d" % (low, high, len(DATA)), "ETag": '"e"'}
        body = DATA[low:high + 1]
        if self.path == "/auth":
          body = (self.headers.get("Authorization") or "none").encode()
          self.reply(200, {"Content-Type": "text/plain"}, body)
        elif way == "flaky": self.reply(206, part, body, cut=70000)
        elif way == "short":
          high = min(high, low + 99999); part["Content-Range"] = "bytes %d-%d/300000" % (low, high)
          self.reply(206, part, DATA[low:high + 1])
        elif way == "swap":
          if seen[way] > 2: part["ETag"] = '"other"'
          self.reply(206, part, body, cut=70000)
        elif way == "busy" and seen[way] % 2: self.reply(503, {"Retry-After": "0"}, b"later")
        elif way == "broken": self.reply(500, {}, b"x" * 200000)
        elif way == "loop": self.reply(302, {"Location": self.path})
        elif way == "hop": self.reply(302, {"Location": "/good/f"}, b"moved")
        elif way == "away": self.reply(302, {"Location": "http://localhost:%d/guarded/f" % PORT})
        elif way == "guarded":
          if self.headers.get("Authorization"): self.reply(400, {}, b"leaked")
          else: self.reply(206, part, body)
        elif way == "wrong":
          part["Content-Range"] = "bytes 5-%d/300000" % (high + 5); self.reply(206, part, body)
        elif way == "bare": self.reply(206, {}, body)
        elif way == "gzip": self.reply(200, {"Content-Encoding": "gzip"}, DATA)
        elif way == "weak": part["ETag"] = 'W/"w%d"' % seen[way]; self.reply(206, part, body)
        elif way == "endless":
          self.close_connection = True
          self.reply(200, {}, DATA)
        elif way == "zero":
          if r: self.reply(416, {"Content-Range": "bytes */0"}, b"no")
          else: self.reply(200, {"ETag": '"z"'}, b"")
        elif way == "gone": self.reply(416 if seen[way] > 1 else 206, part, b"" if seen[way] > 1 else body)
        elif way == "denied": self.reply(403, {}, b"no")
        elif way == "page": self.reply(200, {"Content-Type": "text/html"}, b"<h1>Hello</h1>")
        elif way == "badjson": self.reply(200, {"Content-Type": "application/json"}, b'[{"name":')
        else: self.reply(206, part, body)
    PORT = int(sys.argv[1])
    class Server(ThreadingHTTPServer): daemon_threads = True
    Server(("127.0.0.1", PORT), Handler).serve_forever()
    """#

  private func withServer(_ body: (_ url: String) throws -> Void) throws {
    let folder = try TemporaryFolder("faults")
    let port = try freePorts(1)[0]
    let script = try folder.file("server.py", text: Self.program)
    let server = try ServerProcess(
      ["python3", script, "\(port)"], port: port, log: folder.path("log"))
    defer { server.stop() }
    try body("http://127.0.0.1:\(port)")
  }

  private func failure(_ url: String, _ way: String) -> StoreError? {
    StoreCalls.failure { _ = try TestSite("\(url)/\(way)/").calls.read(ObjectKey("f")) }
  }

  @Test func repliesThatBreakOffAreContinued() throws {
    try withServer { url in
      for way in ["good", "flaky", "short", "busy", "hop", "weak", "endless"] {
        let site = try TestSite("\(url)/\(way)/")
        #expect(try site.calls.read(ObjectKey("f")) == Self.file, "\(way)")
        #expect(site.metrics.store.bytesFetched.count == 300_000, "\(way)")
      }
    }
  }

  @Test func fileThatChangesBetweenTwoAttemptsIsChanged() throws {
    try withServer { url in
      #expect(failure(url, "swap")?.kind == .changed)
      #expect(failure(url, "gone")?.kind == .changed)
    }
  }

  @Test func repliesThatAreNotWhatWasAskedForAreErrors() throws {
    try withServer { url in
      let version = ObjectVersion(key: ObjectKey("f"), etag: "", size: 300_000, modified: 0)
      for way in ["wrong", "bare", "gzip"] {
        let site = try TestSite("\(url)/\(way)/")
        #expect(
          StoreCalls.failure { _ = try site.calls.fetch(version) }?.kind == .badReply, "\(way)")
      }
      #expect(failure(url, "loop")?.kind == .unsupported)
      #expect(failure(url, "denied")?.kind == .accessDenied)
      #expect(failure(url, "gzip")?.kind == .unsupported)
    }
  }

  @Test func serverThatKeepsFailingEndsByTheDeadline() throws {
    try withServer { url in
      let site = try TestSite("\(url)/broken/")
      let calls = StoreCalls(store: site.store, within: .seconds(2))
      let error = StoreCalls.failure { _ = try calls.head("f") }
      #expect(error?.kind == .serverFailure || error?.kind == .timedOut)
      #expect(site.metrics.store.retries.count > 0)
    }
  }

  @Test func redirectElsewhereCarriesNoPassword() throws {
    try withServer { url in
      let site = try TestSite("http://me:pw@\(url.dropFirst(7))/away/")
      #expect(try site.calls.read(ObjectKey("f")) == Self.file)
    }
  }

  @Test func emptyFileAndWeakTagsAreUnderstood() throws {
    try withServer { url in
      let empty = try TestSite("\(url)/zero/").calls.head("f")
      #expect(empty.size == 0)
      #expect(empty.etag == "\"z\"")
      #expect(try TestSite("\(url)/weak/").calls.head("f").etag.isEmpty)
      #expect(try TestSite("\(url)/endless/").calls.head("f").size == 300_000)
    }
  }

  @Test func pagesThatAreNoListingsAreClearErrors() throws {
    try withServer { url in
      let page = StoreCalls.failure { _ = try TestSite("\(url)/page/").calls.list() }
      #expect(page?.kind == .unsupported)
      #expect(page?.advice.contains("--manifest") == true)
      #expect(
        StoreCalls.failure { _ = try TestSite("\(url)/badjson/").calls.list() }?.kind == .badReply)
    }
  }
}

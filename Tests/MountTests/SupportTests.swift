import Glibc
import Posix
import TestSupport
import Testing

/// The tests' own tools: what every other test believes in.
@Suite struct SupportTests {
  @Test func aCommandThatDoesNotEndIsKilledInTime() {
    #expect(throws: SupportError.self) {
      try CommandResult.run(["sleep", "600"], within: .milliseconds(200))
    }
  }

  @Test func aCommandsOutputErrorsAndStatusAreSeen() throws {
    let result = try CommandResult.run(
      ["sh", "-c", "cat; echo $GIVEN; pwd; echo no >&2; exit 3"], environment: ["GIVEN": "yes"],
      folder: "/usr", input: "in\n")
    #expect(result.status == .exited(3))
    #expect(result.output == "in\nyes\n/usr\n")
    #expect(result.errors == "no\n")
  }

  @Test func aChildDiesWithTheProcessThatStartedIt() throws {
    let folder = try TemporaryFolder("orphan")
    // The outer shell is killed; the inner sleep was started as every child of ours is. It tells
    // its id itself, once the death signal is set: a parent killed before that sends none.
    let inner =
      "echo $$ > \(folder.path)/new; mv \(folder.path)/new \(folder.path)/pid; exec sleep 600"
    let outer = try ChildProcess(["sh", "-c", "setpriv --pdeathsig KILL sh -c '\(inner)' & wait"])
    let id = try #require(
      waitFor(within: .seconds(10)) {
        (try? readText(folder.path("pid"))).flatMap { pid_t($0.filter(\.isNumber)) }
      })
    outer.signal(SIGKILL)
    _ = outer.wait(within: .seconds(10))
    // A process that is dead but not yet waited for has an entry, and no program.
    let gone = waitFor(within: .seconds(10)) {
      (try? readlinkText("/proc/\(id)/exe")) == nil ? true : nil
    }
    #expect(gone == true)
  }

  @Test func aTemporaryFolderGoesWithItsOwner() throws {
    var folder: TemporaryFolder? = try TemporaryFolder("going")
    let path = folder!.path
    try folder!.file("a/b/c", text: "x")
    folder = nil
    #expect(!fileExists(path))
  }

  @Test(.enabled(if: requireOrSkip(.servers, .program("nginx"))))
  func aVerifyingServerTakesOurKeysAndRefusesOthers() throws {
    let weed = try SeaweedFS.start()
    try checkServer(weed.endpoint, verifies: true)
    let rclone = try RcloneS3.start()
    try checkServer(rclone.endpoint, verifies: true)
    let moto = try MotoServer.start()
    try checkServer(moto.endpoint, verifies: false)
  }

  private func checkServer(_ endpoint: S3Endpoint, verifies: Bool) throws {
    let proxy = try LoggingProxy.start(before: endpoint.url)
    let client = endpoint.reached(at: proxy.url)
    let key = "folder/a b+c=d%e&f#g'h\"ü.bin"
    try client.put([1, 2, 3], to: "data", key: key)
    #expect(try client.get("data", key: key) == [1, 2, 3])
    #expect(proxy.requests.map(\.method) == ["PUT", "GET"])
    try client.delete("data", key: key)
    #expect(throws: SupportError.self) { try client.get("data", key: key) }
    let wrong = client.signing(accessKey: client.accessKey, secretKey: "wrong")
    if verifies {
      #expect(throws: SupportError.self) { try wrong.put([1], to: "data", key: "x") }
    }
  }

  @Test(.enabled(if: requireOrSkip(.servers)))
  func tenThousandObjectsArePut() throws {
    let weed = try SeaweedFS.shared()
    let bucket = try weed.freshBucket()
    let folder = try TemporaryFolder("many")
    for index in 0..<10_000 { try folder.file("s\(index % 10)/\(index)", text: "\(index)") }
    let start = Instant.now
    try weed.endpoint.putTree(folder.path, to: bucket)
    print("10,000 objects put in \((Instant.now - start).seconds) s")
    #expect(try weed.endpoint.get(bucket, key: "s7/9997") == Array("9997".utf8))
  }

  @Test(.enabled(if: requireOrSkip(.program("nginx"), .program("openssl"))))
  func nginxServesRangesAndListings() throws {
    let folder = try TemporaryFolder("site")
    try folder.file("a/b.txt", text: "0123456789")
    let nginx = try Nginx.start(root: folder.path)
    let listing = try CommandResult.check(["curl", "-sf", nginx.url + "/a/"]).output
    #expect(listing.contains("\"name\":\"b.txt\""))
    let range = try CommandResult.check(["curl", "-sf", "-r", "2-4", nginx.url + "/a/b.txt"])
    #expect(range.output == "234")
    #expect(nginx.requests.last?.range == "bytes=2-4")
    let secure = try Nginx.start(root: folder.path, autoindex: .html, tls: true)
    let trusted = try CommandResult.check([
      "curl", "-sf", "--cacert", #require(secure.certificate), secure.url + "/a/",
    ])
    #expect(trusted.output.contains("b.txt"))
  }
}

func readlinkText(_ path: String) throws -> String {
  var buffer = [CChar](repeating: 0, count: 4096)
  let length = readlink(path, &buffer, buffer.count)
  guard length >= 0 else { throw SupportError("cannot read the link \(path)") }
  return String(decoding: buffer.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

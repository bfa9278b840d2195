import Posix
import TestSupport
import Testing

@testable import LinkServer

/// A million names that take no room are listed as if they were there.
struct SyntheticTreeTests {
  private func listing(_ options: [(String, String)]) throws -> Listing {
    let query = options.map { "\($0.0)=\($0.1)" }.joined(separator: "&")
    let request = try #require(Request(head: "GET /b?\(query) HTTP/1.1"))
    return Listing(request: request, bucket: "b")
  }

  private func text(_ page: PageBytes) -> String { String(decoding: page.bytes, as: UTF8.self) }

  /// What stands between `<name>` and `</name>`, each time.
  private func elements(_ name: String, in text: String) -> [String] {
    text.split(separator: "<\(name)>").dropFirst().map { part in
      String(part[..<(part.firstRange(of: "</\(name)>")?.lowerBound ?? part.endIndex)])
    }
  }

  @Test func pagesAreThoseOfTheSameKeysInABucket() throws {
    let scratch = try TemporaryFolder("tree")
    for seed in 0..<150 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let synthetic = Objects(folder: scratch.path)
      let plain = Objects(folder: scratch.path)
      var keys: [[UInt8]] = []
      let prefixes = [[""], ["a/"], ["a/b", "a/c", "b"], ["a", "a-"]].randomElement(using: &random)!
      for prefix in prefixes {
        let tree = try SyntheticTree(
          prefix: Array(prefix.utf8), folders: Int.random(in: 0...4, using: &random),
          files: Int.random(in: 1...5, using: &random),
          nameLength: Int.random(in: 8...50, using: &random))
        try synthetic.addTree("b", tree)
        let own = (0..<tree.count).map { tree.key($0) }
        #expect(own == own.sorted { $0.lexicographicallyPrecedes($1) })
        for index in 0..<tree.count {
          keys.append(tree.key(index))
          plain.addSynthetic("b", tree.key(index), size: tree.size(index))
          #expect(keys.last!.split(separator: 0x2f).last!.count == tree.nameLength)
        }
      }
      #expect(Set(keys).count == keys.count)
      for _ in 0..<40 {
        // Any beginning of a key, and now and then one that is no key's.
        func someName() -> String {
          let key = keys.randomElement(using: &random)!
          let part = key.prefix(Int.random(in: 0...key.count, using: &random))
          return String(decoding: part, as: UTF8.self)
            + (Int.random(in: 0..<8, using: &random) == 0 ? "0" : "")
        }
        var options = [
          ("prefix", Bool.random(using: &random) ? someName() : ""),
          ("max-keys", "\(Int.random(in: 0...12, using: &random))"),
        ]
        let isV2 = Bool.random(using: &random)
        if isV2 { options.append(("list-type", "2")) }
        if Bool.random(using: &random) {
          options.append((isV2 ? "start-after" : "marker", someName()))
        }
        if Int.random(in: 0..<4, using: &random) > 0 {
          options.append(("delimiter", ["/", "-", "0"].randomElement(using: &random)!))
        }
        if Bool.random(using: &random) { options.append(("encoding-type", "url")) }
        let listing = try listing(options)
        let (one, other) = (PageBytes(), PageBytes())
        let comment = Comment(rawValue: "seed \(seed), \(options)")
        #expect(listing.write(synthetic, into: one) == listing.write(plain, into: other), comment)
        for name in ["Key", "Prefix", "Size"] {
          #expect(elements(name, in: text(one)) == elements(name, in: text(other)), comment)
        }
      }
    }
  }

  @Test func pagesOneAfterAnotherAreTheWhole() throws {
    let scratch = try TemporaryFolder("tree")
    let objects = Objects(folder: scratch.path)
    let tree = try SyntheticTree(prefix: [], folders: 3, files: 2345)
    try objects.addTree("b", tree)
    let page = PageBytes()
    var found: [String] = []
    var token: String?
    repeat {
      let options = token.map { [("continuation-token", $0)] } ?? []
      let head = try #require(
        try listing([("list-type", "2")] + options).write(objects, into: page))
      found += elements("Key", in: text(page))
      token = elements("NextContinuationToken", in: head).first
      #expect(elements("KeyCount", in: head) == [token == nil ? "35" : "1000"])
    } while token != nil && found.count < 10_000
    #expect(found == (0..<tree.count).map { String(decoding: tree.key($0), as: UTF8.self) })
    #expect(Set((0..<tree.count).map { tree.entry($0).etag }).count == tree.count)
    #expect(Set((0..<tree.count).map { tree.modified($0) }).count > tree.count / 2)
  }

  @Test func aKeyLeadsToItsObjectAndNoOtherDoes() throws {
    for folders in [0, 1, 70] {
      let tree = try SyntheticTree(prefix: Array("some/where".utf8), folders: folders, files: 30)
      for index in 0..<tree.count {
        var key = tree.key(index)
        #expect(tree.index(of: key) == index)
        key[key.count - 5] ^= 1
        #expect(tree.index(of: key) == nil)
      }
      #expect(tree.index(of: tree.key(0).dropLast()) == nil)
      #expect(tree.index(of: []) == nil)
    }
  }

  @Test func whatCannotBeIsRefused() throws {
    for (folders, files, length) in [(-1, 1, 40), (1, 0, 40), (1, 1, 7), (1, 1, 256)] {
      #expect(throws: SyntheticTree.Bad.self) {
        try SyntheticTree(prefix: [], folders: folders, files: files, nameLength: length)
      }
    }
    let scratch = try TemporaryFolder("tree")
    let objects = Objects(folder: scratch.path)
    objects.addSynthetic("full", Array("x".utf8), size: 1)
    let tree = try SyntheticTree(prefix: Array("a".utf8), folders: 1, files: 1)
    #expect(throws: SyntheticTree.Bad.self) { try objects.addTree("full", tree) }
    try objects.addTree("b", tree)
    #expect(throws: SyntheticTree.Bad.self) { try objects.addTree("b", tree) }
  }

  @Test func bytesOfAPageAreWhatTheirNamesSay() {
    let page = PageBytes()
    var random = SeededGenerator(seed: 5)
    let key = Array("a&b<c>\"\r+ é/~_".utf8)
    for _ in 0..<2000 {
      let time = Int.random(in: 0..<8_000_000_000, using: &random)
      let size = Int.random(in: 0..<10, using: &random) == 0 ? time : time % 11
      page.clear()
      page.object(key, isEncoded: false, modified: time, size: size, etag: Array("x-1".utf8))
      let expected =
        "<Contents><Key>a&amp;b&lt;c&gt;&quot;&#13;+ é/~_</Key><LastModified>\(Dates.iso(time))"
        + "</LastModified><ETag>&quot;x-1&quot;</ETag><Size>\(size)</Size>"
        + "<StorageClass>STANDARD</StorageClass></Contents>"
      #expect(text(page) == expected)
    }
    page.clear()
    page.commonPrefix(key, isEncoded: true)
    let encoded = "a%26b%3Cc%3E%22%0D%2B%20%C3%A9/~_"
    #expect(text(page) == "<CommonPrefixes><Prefix>\(encoded)</Prefix></CommonPrefixes>")
    // More than there was room for at first.
    page.clear()
    for _ in 0..<5000 { page.commonPrefix(key, isEncoded: true) }
    #expect(elements("Prefix", in: text(page)) == Array(repeating: encoded, count: 5000))
  }

  @Test func theBareListingAsksForEachPageOnce() throws {
    let scratch = try TemporaryFolder("tree")
    let server = try LinkServer(folder: scratch.path, link: .loopback)
    defer { server.stop() }
    try server.addSyntheticTree(bucket: "b", prefix: "deep", folders: 7, files: 1001)
    try server.addSyntheticTree(bucket: "flat", prefix: "", folders: 0, files: 2500)
    let deep = try ListClient(port: server.port, bucket: "b", prefix: "deep/").list(connections: 3)
    #expect(deep.folders == 7)
    #expect(deep.requests == 15)
    #expect(server.statistics.contains("\"lists\": 15"))
    #expect(deep.bytes > 7 * 1001 * 200)
    let flat = try ListClient(port: server.port, bucket: "flat").list(connections: 3)
    #expect(flat.requests == 3)
    #expect(throws: ListClient.Failure.self) {
      try ListClient(port: server.port, bucket: "none").list(connections: 1)
    }
  }

  @Test(.enabled(if: requireOrSkip(.servers))) func botoReadsATree() throws {
    let scratch = try TemporaryFolder("tree")
    let server = try LinkServer(folder: scratch.path, link: .loopback)
    defer { server.stop() }
    try server.addSyntheticTree(bucket: "b", prefix: "p/q", folders: 3, files: 1500)
    let output = try CommandResult.check(
      [VirtualEnvironment.shared().python, "-c", Self.client, "\(server.port)"]
    ).output
    let tree = try SyntheticTree(prefix: Array("p/q".utf8), folders: 3, files: 1500)
    let key = String(decoding: tree.key(1234), as: UTF8.self)
    let lines = output.split(separator: "\n").map(String.init)
    #expect(
      lines == [
        "['b']", "4500 4500 True", "4500 True", "3 ['p/q/folder-000000/']",
        "\(key) \(tree.size(1234)) True True True", "True",
      ])
  }

  private static let client = """
    import sys, hashlib, boto3
    from botocore.config import Config
    s3 = boto3.client("s3", endpoint_url="http://127.0.0.1:" + sys.argv[1], region_name="us-east-1",
        aws_access_key_id="a", aws_secret_access_key="b", config=Config(s3={"addressing_style": "path"}))
    print([bucket["Name"] for bucket in s3.list_buckets()["Buckets"]])
    def all(call, **options):
        pages = s3.get_paginator(call).paginate(Bucket="b", **options)
        return [item for page in pages for item in page.get("Contents", [])]
    found = all("list_objects_v2")
    keys = [item["Key"] for item in found]
    print(len(keys), len({item["ETag"] for item in found}), keys == sorted(set(keys)))
    print(len(all("list_objects")), [item["Key"] for item in all("list_objects")] == keys)
    folders = [item["Prefix"] for page in s3.get_paginator("list_objects_v2").paginate(
        Bucket="b", Prefix="p/q/", Delimiter="/", PaginationConfig={"PageSize": 2})
        for item in page["CommonPrefixes"]]
    print(len(folders), folders[:1])
    item = found[1234]
    head = s3.head_object(Bucket="b", Key=item["Key"])
    body = s3.get_object(Bucket="b", Key=item["Key"], IfMatch=item["ETag"])["Body"].read()
    print(item["Key"], len(body), item["Size"] == head["ContentLength"] == len(body),
        item["ETag"] == head["ETag"], item["LastModified"] == head["LastModified"])
    after = all("list_objects_v2", StartAfter=keys[2000], Prefix="p/q/folder-000001/")
    print([item["Key"] for item in after] == keys[2001:3000])
    """
}

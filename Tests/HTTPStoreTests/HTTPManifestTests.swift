import Formats
import ObjectStore
import Posix
import TestSupport
import Testing

@testable import HTTPStore

@Suite struct HTTPManifestTests {
  private func manifest(_ text: String) throws -> HTTPManifest {
    try HTTPManifest(parsing: Array(text.utf8))
  }

  private func failure(_ text: String) -> ManifestLines.Malformed? {
    do {
      _ = try manifest(text)
      return nil
    } catch { return error as? ManifestLines.Malformed }
  }

  @Test func plainCSV() throws {
    let list = try manifest("b/x,10,1445412480,abc\r\na,0\n\n./c,5,2015-10-21T07:28:00Z\n")
    #expect(list.count == 3)
    #expect(list.isExact)
    #expect(
      list.attributes(of: ObjectKey("b/x"))
        == ObjectAttributes(
          key: ObjectKey("b/x"), size: 10, modified: 1_445_412_480, etag: "\"abc\""))
    #expect(list.attributes(of: ObjectKey("c"))?.modified == 1_445_412_480)
    #expect(list.attributes(of: ObjectKey("a"))?.size == 0)
    #expect(list.attributes(of: ObjectKey("b")) == nil)
  }

  @Test func headerLineAndQuotes() throws {
    let list = try manifest("sha256,Size,PATH\nfeed,3,\"a,\"\"b\"\"\nc\"\n,4,d\n")
    #expect(list.attributes(of: ObjectKey("a,\"b\"\nc"))?.etag == "sha256:feed")
    #expect(list.attributes(of: ObjectKey("d"))?.size == 4)
    #expect(try manifest("path\na\nb\n").isExact == false)
  }

  @Test func jsonLines() throws {
    let list = try manifest(
      #"""
      {"path":"a/b","size":3,"mtime":1445412480.5,"etag":"\"x\""}

      {"path":"c","extra":{"n":[1]},"hash":"h"}
      """#)
    #expect(list.attributes(of: ObjectKey("a/b"))?.etag == "\"x\"")
    #expect(list.attributes(of: ObjectKey("a/b"))?.modified == 1_445_412_480)
    #expect(list.attributes(of: ObjectKey("c"))?.etag == "hash:h")
    #expect(!list.isExact)
  }

  @Test func errorsNameTheLine() {
    #expect(failure("a,1\nb,two\n")?.line == 2)
    #expect(failure("a,1\n../b,2\n")?.line == 2)
    #expect(failure("/etc,1")?.line == 1)
    #expect(failure("a//b,1")?.line == 1)
    #expect(failure("a,1\n\"b\nc\",1\nd,1,2,3,4")?.line == 4)
    #expect(failure("a,1,soon")?.line == 1)
    #expect(failure("\"a,1")?.line == 1)
    #expect(failure("{\"path\":\"a\"}\n{\"path\":")?.line == 2)
    #expect(failure("{\"size\":1}")?.line == 1)
    #expect(failure("a,99999999999999999999")?.line == 1)
  }

  @Test func lastOfSeveralLinesWins() throws {
    let list = try manifest("a,1\nb,2\na,3\n")
    #expect(list.count == 2)
    #expect(list.attributes(of: ObjectKey("a"))?.size == 3)
  }

  @Test func foldersAreServedInPages() throws {
    let list = try manifest("a,1\na-1,1\na/x,1\na/y/z,1\na0,1\nb/c,1\n")
    let page = list.page(of: .root, cursor: nil, limit: 1000)
    #expect(page.objects.map(\.key.description) == ["a", "a-1", "a0"])
    #expect(page.folders.map(\.description) == ["a/", "b/"])
    #expect(page.next == nil)
    let inner = list.page(of: ObjectKey("a/"), cursor: nil, limit: 1000)
    #expect(inner.objects.map(\.key.description) == ["a/x"])
    #expect(inner.folders.map(\.description) == ["a/y/"])
    #expect(list.page(of: ObjectKey("none/"), cursor: nil, limit: 1).objects.isEmpty)
    #expect(list.page(of: .root, cursor: "-5", limit: 1).objects.isEmpty)
    #expect(list.page(of: .root, cursor: "99", limit: 1).objects.isEmpty)
  }

  /// Against a plain model: whatever the limit, the pages of a folder are its names, each once.
  @Test func pagesAgreeWithAModel() throws {
    for seed in 0..<500 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      var paths: Set<String> = []
      for _ in 0..<Int.random(in: 1...40, using: &random) {
        let path = random.text(of: "ab-/0", upTo: 8)
        if ObjectName.isPath(Array(path.utf8)[...]) { paths.insert(path) }
      }
      let list = try manifest(paths.shuffled(using: &random).map { "\($0),1\n" }.joined())
      for folder in ["", "a/", "a/b/", "-/"] {
        let inside = paths.filter { $0.hasPrefix(folder) }.map { $0.dropFirst(folder.count) }
        let expected = Set(
          inside.map { path in
            folder + (path.firstIndex(of: "/").map { String(path[...$0]) } ?? String(path))
          })
        var seen: [String] = []
        var cursor: String?
        let limit = Int.random(in: 1...5, using: &random)
        repeat {
          let page = list.page(of: ObjectKey(folder), cursor: cursor, limit: limit)
          seen += page.objects.map(\.key.description) + page.folders.map(\.description)
          cursor = page.next
        } while cursor != nil
        #expect(seen.count == expected.count && Set(seen) == expected, "seed \(seed)")
      }
    }
  }

  @Test func damagedManifestsNeverTrap() {
    let csv = "path,size,mtime\n\"a,b\",1,2015-10-21\nc/d,2,99\n"
    let json = "{\"path\":\"a\",\"size\":1}\n{\"path\":\"b\\u00e9\",\"etag\":\"x\"}\n"
    for seed in 0..<4_000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      for text in [csv, json] { _ = try? HTTPManifest(parsing: random.damaged(Array(text.utf8))) }
    }
  }
}

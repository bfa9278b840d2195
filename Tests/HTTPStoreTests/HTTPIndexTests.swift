import Formats
import ObjectStore
import Posix
import TestSupport
import Testing

@testable import HTTPStore

@Suite struct HTTPIndexTests {
  private let folder = try! HTTPURL.parse("http://host/data/a%20b/").url

  private func names(_ html: String) throws -> [String] {
    let index = try HTMLIndex.parse(Array(html.utf8), folder: folder)
    return index.entries.map {
      String(decoding: $0.name, as: UTF8.self) + ($0.isFolder ? "/" : "")
    }
  }

  private static let nginxJSON = #"""
    [
    { "name":"sub dir", "type":"directory", "mtime":"Wed, 21 Oct 2015 07:28:00 GMT" },
    { "name":"sock", "type":"other", "mtime":"Wed, 21 Oct 2015 07:28:00 GMT" },
    { "name":"b\"\\\u00e9\ud83d\ude00", "type":"file", "mtime":"Wed, 21 Oct 2015 07:28:00 GMT", "size":12 },
    { "name":"a", "type":"file", "mtime":"Wed, 21 Oct 2015 07:28:00 GMT", "size":0, "x":[1,{"y":null}] }
    ]
    """#

  @Test func nginxJSONGivesSizesAndTimes() throws {
    let index = try HTTPIndex.parse(
      Array(Self.nginxJSON.utf8), contentType: "application/json", folder: folder)
    let page = index.page(of: ObjectKey("x/"))
    #expect(page.folders == [ObjectKey("x/sub dir/")])
    #expect(page.objects.map(\.key) == [ObjectKey("x/a"), ObjectKey("x/b\"\\é😀")])
    #expect(page.objects.map(\.size) == [0, 12])
    #expect(page.objects.map(\.modified) == [1_445_412_480, 1_445_412_480])
  }

  @Test func caddyJSONIsReadToo() throws {
    let text = #"""
      [{"name":"d/","size":4096,"url":"./d/","mod_time":"2015-10-21T07:28:00.5Z","mode":2,"is_dir":true},
       {"name":"f","size":7,"url":"./f","mod_time":"2015-10-21T07:28:00.5Z","mode":2,"is_dir":false}]
      """#
    let page = try HTTPIndex.parse(
      Array(text.utf8), contentType: "application/json; charset=utf-8", folder: folder
    ).page(of: .root)
    #expect(page.folders == [ObjectKey("d/")])
    #expect(page.objects.first?.size == 7)
    #expect(page.objects.first?.modified == 1_445_412_480)
  }

  @Test func namesThatAreNoUTF8StayBytes() throws {
    let text = Array(#"[{"name":"a"#.utf8) + [0xff] + Array(#"","type":"file","size":1}]"#.utf8)
    let index = try HTTPIndex.parse(text, contentType: "", folder: folder)
    #expect(index.entries.map(\.name) == [[97, 0xff]])
    let html = Array("<a href=\"b".utf8) + [0xfe] + Array("\">".utf8)
    #expect(try HTMLIndex.parse(html, folder: folder).entries.map(\.name) == [[98, 0xfe]])
  }

  @Test func namesThatArePathsAreLeftOut() throws {
    let text = #"""
      [{"name":"..","type":"directory"},{"name":".","type":"directory"},{"name":"a/b","type":"file"},
       {"name":"","type":"file"},{"name":"a\u0000","type":"file"},{"type":"file"},{"name":7}]
      """#
    let index = try HTTPIndex.parse(Array(text.utf8), contentType: "", folder: folder)
    #expect(index.entries.isEmpty)
  }

  @Test func onlyLinksIntoTheFolderCount() throws {
    let page = """
      <html><head><title>Index of /data/a b/</title><link href="style.css"></head><body>
      <!-- <a href="hidden"> --><a href="?C=N;O=D">Name</a> <A HREF='../'>Parent</A>
      <a href="/data/">up</a> <a href="/data/a%20b/abs.bin">x</a><a href="http://host/data/a%20b/full">x</a>
      <a href="http://other/data/a%20b/no"> <a href="https://host/data/a%20b/no"><a href="sub/">s</a>
      <a class=x href=bare.txt>b</a><a href="sub/deep">no</a><a href="a%2Fb">no</a><a href="#top">
      <a href="mailto:a@b">m</a><a href="./dot%20file%3f">d</a><a href="a&amp;b&#39;&lt;&#x263a;.txt">e</a>
      <a href="sub/">again</a><a href=""><a href="%zz"><a href="..%2f"><abbr href="no"></a>
      </body></html>
      """
    #expect(
      try names(page)
        == ["a&b'<☺.txt", "abs.bin", "bare.txt", "dot file?", "full", "sub/"])
  }

  @Test func rowsOfNginxGiveExactSizesAndMinutes() throws {
    let page = """
      <html>\r\n<head><title>Index of /data/a b/</title></head>\r\n<body>\r
      <h1>Index of /data/a b/</h1><hr><pre><a href="../">../</a>\r
      <a href="sub/">sub/</a>                          21-Oct-2015 07:28                   -\r
      <a href="large.bin">large.bin</a>                21-Oct-2015 07:29         12345678901\r
      <a href="none">none</a>                          21-Oct-2015 07:30                   0\r
      <a href="odd%20-%203">odd - 3</a>                21-Oct-2015 07:32                   7\r
      </pre><hr></body>\r\n</html>\r\n
      """
    let index = try HTMLIndex.parse(Array(page.utf8), folder: folder)
    #expect(
      index.entries.map { String(decoding: $0.name, as: UTF8.self) }
        == ["large.bin", "none", "odd - 3", "sub"])
    #expect(index.entries.map(\.size) == [12_345_678_901, 0, 7, nil])
    #expect(
      index.entries.map(\.modified) == [1_445_412_540, 1_445_412_600, 1_445_412_720, nil])
    #expect(index.timesAreMinutes)
  }

  @Test func rowsOfOtherServersGiveNoSizes() throws {
    let page = """
      <a href="apache">apache</a>  2015-10-21 07:28  123  \n<a href="python">python</a></li>
      <tr><td><a href="table">table</a></td><td>21-Oct-2015 07:28</td><td>12</td></tr>
      <a href="words">words</a> 21-Oct-2015 07:28 12 bytes\n<a href="cut">cut</a> 21-Oct-2015 07:28
      """
    let index = try HTMLIndex.parse(Array(page.utf8), folder: folder)
    #expect(index.entries.count == 5 && index.entries.allSatisfy { $0.size == nil }, "\(index)")
  }

  @Test func oneRoundedSizeMakesAllSizesUnknown() throws {
    let page = """
      <a href="exact">exact</a>       21-Oct-2015 07:29      1234
      <a href="rounded">rounded</a>   21-Oct-2015 07:31       12K
      """
    let index = try HTMLIndex.parse(Array(page.utf8), folder: folder)
    #expect(index.entries.map(\.size) == [nil, nil] && !index.timesAreMinutes)
    #expect(index.entries.map(\.modified) == [nil, nil])
  }

  @Test func onlyATimeOfAWholeMinuteMayHaveLostItsSeconds() {
    let listed: Int64 = 1_445_412_480
    for same: Int64 in [0, 1, 59] {
      #expect(ListedTimes.isSame(listed + same, asListed: listed, inMinutes: true))
      #expect(ListedTimes.isSame(listed + same, asListed: listed, inMinutes: false) == (same == 0))
    }
    for other: Int64 in [60, -1, 900, 3600] {
      #expect(!ListedTimes.isSame(listed + other, asListed: listed, inMinutes: true))
    }
    #expect(!ListedTimes.isSame(listed + 2, asListed: listed + 1, inMinutes: true))
    #expect(ListedTimes.minute(of: -1) == -60)
  }

  @Test func emptyFolderIsKnownByItsTitleOrParentLink() throws {
    #expect(try names("<h1>Index of /x/</h1>").isEmpty)
    #expect(try names("<a href=\"../\">../</a>").isEmpty)
  }

  @Test func otherPagesAreNoListing() {
    for (body, type) in [
      ("<html>Welcome! <a href=\"/login\">log in</a></html>", "text/html"), ("bytes", "image/png"),
      ("", ""),
    ] {
      do {
        _ = try HTTPIndex.parse(Array(body.utf8), contentType: type, folder: folder)
        Issue.record("\(body) was taken")
      } catch { #expect(error.isNoIndex) }
    }
  }

  @Test(arguments: [
    "[", "[{]", "[{}", "{}", "[1]", #"[{"name":"a"},]"#, #"[{"name":"a}]"#, "[{}]x",
    #"[{"a":tru}]"#,
    #"[{"a":"\u12"}]"#, #"[{"a":"\x"}]"#,
  ])
  func brokenJSONIsAnError(_ text: String) {
    #expect(throws: HTTPIndex.Unusable.self) { try HTTPIndex.parseJSON(Array(text.utf8)) }
  }

  @Test func deepNestingIsRefused() {
    let text = "[{\"a\":" + String(repeating: "[", count: 100_000)
    #expect(throws: HTTPIndex.Unusable.self) { try HTTPIndex.parseJSON(Array(text.utf8)) }
  }

  @Test func damagedIndexesNeverTrapAndOnlyGiveNames() {
    let html = """
      <title>Index of</title><a href="a&amp;b&#39;.txt">e</a> <!-- c --> <a class='x' href=bare>
      <a href="/data/a%20b/abs%3F">x</a> <a href="sub/">s</a>
      """
    for seed in 0..<4_000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      for (text, type) in [(Self.nginxJSON, "application/json"), (html, "text/html")] {
        let body = random.damaged(Array(text.utf8))
        guard let index = try? HTTPIndex.parse(body, contentType: type, folder: folder) else {
          continue
        }
        for entry in index.entries {
          #expect(ObjectName.isSegment(entry.name), "seed \(seed)")
        }
      }
    }
  }

  @Test func namesSurviveEveryFormOfListing() throws {
    for seed in 0..<1_000 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let name = random.bytes(upTo: 20).filter { $0 != 0 && $0 != 47 } + [97]
      let link =
        Array("<a href='".utf8) + Array(PercentEncoding.encode(name).utf8)
        + Array("'>".utf8)
      let found = try HTMLIndex.parse(link, folder: folder)
      #expect(found.entries.map(\.name) == [name], "seed \(seed)")
    }
  }

  @Test func aLinkThatIsLongerThanAnyPathIsPassedOver() throws {
    let (folder, _) = try HTTPURL.parse("http://h/d/")
    let long = String(repeating: "x", count: 1 << 20)
    let body = "<h1>Index of /d/</h1><a href=\"\(long)\">a</a><a href=\"b.bin\">b</a>"
    let index = try HTTPIndex.parse(Array(body.utf8), contentType: "text/html", folder: folder)
    #expect(index.entries.map(\.name) == [Array("b.bin".utf8)])
  }
}

import ObjectStore
import TestSupport
import Testing

@testable import CatalogStore

/// Sizes that a manifest states, and their sum.
@Suite struct CatalogNumbersTests {
  /// A list is a promise: what cannot be true is refused with its line.
  @Test(arguments: ["csv", "json"])
  func aManifestStatesSizesThatCanBeReadOrIsRefused(form: String) throws {
    let folder = try TemporaryFolder("numbers")
    func text(_ size: String) -> String {
      form == "csv" ? "path,size\na,\(size)\n" : "{\"path\":\"a\",\"size\":\"\(size)\"}\n"
    }
    func read(_ size: String) throws -> UInt64? {
      let path = try folder.file("manifest", text: text(size))
      let catalog = try ManifestReader.read(file: path, prefix: .root, quotesETags: false)
      return catalog.attributes(0).size
    }
    for size in StatedSizes.readable { #expect(try read("\(size)") == size) }
    for size in StatedSizes.tooLarge + StatedSizes.unreadable where size != "" {
      let path = try folder.file("manifest", text: text(size))
      #expect(throws: StoreError.self, "\(size)") {
        try ManifestReader.read(file: path, prefix: .root, quotesETags: false)
      }
    }
  }

  @Test func aSumOfManySizesIsTheLargestNumberAtMost() throws {
    var builder = CatalogBuilder()
    for index in 0..<3000 {
      builder.add(
        ObjectAttributes(key: ObjectKey("\(index)"), size: ObjectSize.limit, modified: nil))
    }
    #expect(try Catalog(builder).totalBytes == .max)
  }
}

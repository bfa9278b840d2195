import Glibc
import Metrics
import ObjectStore
import Posix
import SystemPackage
import Testing

@testable import FileSystem

/// The file of listings in the hands of a failing disk, or of somebody who knows its checksum.
@Suite struct ListingCacheFileTests {
  private func store() -> KeyStore {
    let store = KeyStore()
    let etags = ["\"e\"", "\"\(String(repeating: "ab", count: 16))\"", ""]
    for folder in 0..<3 {
      for file in 0..<5 {
        // An MD5, one of parts, and what is kept as it is.
        let parts = "\"\(String(repeating: "cd", count: 16))-\(file + 1)\""
        let etag = file == 4 ? parts : etags[file % 3]
        store.put(
          Array("d\(folder)/f\(file)".utf8), KeyStore.Object(size: UInt64(file), etag: etag))
      }
    }
    return store
  }

  private func save(_ store: KeyStore, to path: String) throws -> [String] {
    let rig = try NamesRig(store, listingsFile: path)
    let names = try #require(rig.list())
    for name in names { _ = rig.list(try #require(rig.find(name)).node) }
    return names
  }

  @Test func aFileCutOffWhileMountedIsAsIfItWereNotThere() throws {
    let folder = try TestFolder()
    let path = folder.path + "/listings"
    let store = store()
    let names = try save(store, to: path)
    let whole = try folder.read("listings")
    for length in stride(from: 0, to: whole.count, by: 7) {
      try folder.write("listings", whole)
      let rig = try NamesRig(store, listingsFile: path)
      truncate(path, off_t(length))
      #expect(rig.list() == names, "cut to \(length)")
      for name in names {
        #expect(rig.list(rig.find(name)!.node)?.count == 5, "cut to \(length)")
      }
    }
  }

  /// Damage under a right checksum: whatever is taken for a listing can be listed, looked up and asked for its
  /// attributes, in the order of names.
  @Test func damageThatTheChecksumDoesNotShowIsNoHarm() throws {
    let folder = try TestFolder()
    let path = folder.path + "/listings"
    let store = store()
    _ = try save(store, to: path)
    let whole = try folder.read("listings")
    for seed in 0..<600 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      var bytes = whole
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        let place = Int.random(in: 0..<bytes.count, using: &random)
        bytes[place] = [0, 1, 0x2f, 0x7f, 0x80, 0xff, .random(in: 0...255, using: &random)]
          .randomElement(using: &random)!
      }
      Self.fixChecksums(&bytes)
      try folder.write("listings", bytes)
      let rig = try NamesRig(store, listingsFile: path)
      try look(at: rig, FileSystem.root, depth: 0, "seed \(seed)")
    }
  }

  /// Callers that need a listing while another thread reads it get that, and do not list the directory.
  @Test func concurrentCallersShareTheReadOfAListing() throws {
    let folder = try TestFolder()
    let path = folder.path + "/listings"
    let store = KeyStore()
    store.put((0..<20_000).map { "f\($0 + 100_000)" })
    do { _ = try NamesRig(store, listingsFile: path).list() }
    let lists = store.lists
    for round in 0..<10 {
      let rig = try NamesRig(store, listingsFile: path)
      let threads = (0..<8).map { number in
        Thread(named: "reader") {
          if number % 2 == 0 {
            #expect(rig.list()?.count == 20_000, "round \(round)")
          } else {
            #expect(rig.find("f\(100_000 + number)") != nil, "round \(round)")
          }
        }
      }
      for thread in threads { thread.join() }
      #expect(rig.metrics.metadata.restoredListings.count == 1)
    }
    #expect(store.lists == lists && store.heads == 0)
  }

  private func look(
    at rig: NamesRig, _ node: NodeID, depth: Int, _ note: Comment
  ) throws {
    let names = try #require(rig.list(node, attributes: .all), note)
    #expect(names.count == Set(names).count, note)
    for name in names where depth < 3 {
      // Bytes that are no UTF-8 are not the name any more.
      guard !name.contains("\u{FFFD}"), let found = rig.find(name, in: node) else { continue }
      if found.kind == .folder {
        try look(at: rig, found.node, depth: depth + 1, note)
      } else {
        #expect(found.size <= ObjectSize.limit, note)
        let etag: Result<[UInt8], Errno>? = rig.now { reply in
          Array("user.millrace.etag".utf8).withUnsafeBytes {
            rig.files.extendedAttribute(of: found.node, name: $0, reply: reply)
          }
        }
        #expect(etag != nil, note)
      }
    }
  }

  /// As long as heads are heads: of each record the checksum of its body.
  private static func fixChecksums(_ bytes: inout [UInt8]) {
    let size = ListingCacheFile.Head.size
    var position = 0
    while position + size <= bytes.count {
      var head = bytes.withUnsafeBytes {
        $0.loadUnaligned(fromByteOffset: position, as: ListingCacheFile.Head.self)
      }
      let end = position + size + head.bodyLength
      guard head.isPossible, end <= bytes.count else { return }
      head.checksum = crc32c(bytes[(position + size)..<end])
      withUnsafeBytes(of: head) { head in
        for (offset, byte) in head.prefix(8).enumerated() { bytes[position + offset] = byte }
      }
      position = end
    }
  }

  private static func crc32c(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    var sum: UInt32 = ~0
    for byte in bytes {
      sum ^= UInt32(byte)
      for _ in 0..<8 { sum = sum >> 1 ^ (sum & 1 == 1 ? 0x82f6_3b78 : 0) }
    }
    return ~sum
  }
}

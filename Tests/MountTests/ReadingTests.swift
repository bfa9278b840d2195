import Glibc
import TestSupport
import Testing

extension MountTests {
  /// Every byte of a mount is the store's, by whatever way it is read.
  @Suite struct Reading {
    @Test(arguments: Backend.allCases)
    func everyByteIsRightByReadPreadMmapAndCopy(_ backend: Backend) throws {
      let served = try backend.serve()
      let seed = UInt64.random(in: 0..<1_000_000)
      print("\(backend): seed \(seed)")
      // Each way of reading begins with an empty cache: it is the first to meet the store.
      for (index, mode) in Readers.Mode.allCases.enumerated() {
        let cache = try served.scratch.folder("cache-\(index)")
        let mount = try served.mount(cache: cache)
        try Readers.compare(served.tree, mount.path, mode: mode, readers: 1, seed: seed)
        try mount.unmount()
      }
      let mount = try served.mount(cache: served.scratch.folder("cache-copy"))
      try Readers.compareCopy(served.tree, mount.path, scratch: served.scratch)
      try mount.unmount()
    }

    @Test(arguments: Backend.allCases)
    func everyByteIsRightUnderSixteenReaders(_ backend: Backend) throws {
      let served = try backend.serve()
      let seed = UInt64.random(in: 0..<1_000_000)
      print("\(backend): seed \(seed)")
      for (index, mode) in Readers.Mode.allCases.enumerated() {
        let mount = try served.mount(cache: served.scratch.folder("cache-\(index)"))
        try Readers.compare(served.tree, mount.path, mode: mode, readers: 16, seed: seed)
        try mount.unmount()
      }
    }

    @Test func anHTMLListingMountsAsAJSONOneDoes() throws {
      let scratch = try TemporaryFolder("html")
      let tree = try DataSet.edges(in: scratch)
      let server = try Nginx.start(root: tree, autoindex: .html)
      let mount = try MountedMillrace(server.url + "/", cache: scratch.folder("cache"))
      try Readers.compare(tree, mount.path)
      try mount.unmount()
    }

    @Test(.enabled(if: requireOrSkip(.program("openssl"))))
    func aServerOverTLSIsReadWithItsCertificateAndRefusedWithout() throws {
      let scratch = try TemporaryFolder("tls")
      let tree = try DataSet.edges(in: scratch)
      let server = try Nginx.start(root: tree, tls: true)
      let mount = try MountedMillrace(
        server.url + "/", cache: scratch.folder("cache"),
        options: ["--ca-bundle", #require(server.certificate)])
      try Readers.compare(tree, mount.path)
      try mount.unmount()
      #expect(throws: SupportError.self) {
        try MountedMillrace(server.url + "/", cache: scratch.folder("cache-2"))
      }
    }

    @Test func aRangeInTheMiddleOfFiveGiBIsRight() throws {
      let scratch = try TemporaryFolder("huge")
      let folder = try scratch.folder("tree")
      let size = 5 << 30
      let middle = (5 << 29) - 70_000
      let path = try scratch.sparseFile("tree/huge.bin", size: size)
      let marks = seededBytes(300_000, seed: 9)
      try overwrite(path, marks, at: middle)
      try overwrite(path, Array("end".utf8), at: size - 3)
      let server = try Nginx.start(root: folder)
      for source in [server.url + "/", "file://\(folder)"] {
        let mount = try MountedMillrace(source, cache: scratch.folder("cache"))
        let huge = mount.path + "/huge.bin"
        #expect(try statOf(huge).st_size == off_t(size))
        #expect(try readRange(huge, middle, marks.count) == marks)
        #expect(try readRange(huge, size - 3, 100) == Array("end".utf8))
        #expect(try readRange(huge, 0, 10) == [UInt8](repeating: 0, count: 10))
        // A range in the middle is not the whole file.
        #expect(try mount.stats().number("bytesFetched") < 256 << 20)
        try mount.unmount()
      }
      let fetched = server.requests.filter { $0.target.contains("huge") }.map(\.bodyBytes)
      #expect(fetched.reduce(0, +) < 256 << 20)
    }
  }
}

func overwrite(_ path: String, _ bytes: [UInt8], at offset: Int) throws {
  let file = open(path, O_WRONLY | O_CLOEXEC)
  guard file >= 0 else { throw SupportError("cannot open \(path)") }
  defer { close(file) }
  guard pwrite(file, bytes, bytes.count, off_t(offset)) == bytes.count else {
    throw SupportError("cannot write \(path)")
  }
}

func readRange(_ path: String, _ offset: Int, _ count: Int) throws -> [UInt8] {
  let file = open(path, O_RDONLY | O_CLOEXEC)
  guard file >= 0 else { throw SupportError("cannot open \(path): errno \(errno)") }
  defer { close(file) }
  var bytes = [UInt8](repeating: 0, count: count)
  var got = 0
  while got < count {
    let length = bytes.withUnsafeMutableBytes {
      pread(file, $0.baseAddress! + got, count - got, off_t(offset + got))
    }
    guard length >= 0 else { throw SupportError("cannot read \(path): errno \(errno)") }
    if length == 0 { break }
    got += length
  }
  return Array(bytes.prefix(got))
}

func statOf(_ path: String) throws -> stat {
  var status = stat()
  guard lstat(path, &status) == 0 else { throw SupportError("stat \(path): errno \(errno)") }
  return status
}

import CFuseShim
import FileSystem
import Glibc
import Logging
import Metrics
import ObjectStore
import Posix
import SystemPackage
import Testing

@testable import FuseFrontEnd

private let options = MountOptions(mountPoint: "/m", sourceName: "s3://b", owner: 5, group: 6)
private let mapper = AttributeMapper(options)

/// #expect does not take calls of mutating methods, nor noncopyable values.
private func check(_ value: Bool, sourceLocation: SourceLocation = #_sourceLocation) {
  #expect(value, sourceLocation: sourceLocation)
}

@Suite struct MountOptionsTests {
  @Test func commasAndBackslashesOfTheSourceDoNotSplitTheOptions() {
    var options = options
    options.sourceName = "s3://b/a,b\\c"
    #expect(options.arguments[2].hasPrefix("fsname=s3://b/a\\,b\\\\c,subtype=millrace"))
  }

  @Test func allowOtherLetsTheKernelCheckPermissions() {
    var options = options
    #expect(!options.arguments[2].contains("default_permissions"))
    options.allowOther = true
    #expect(options.arguments[2].hasSuffix(",allow_other,default_permissions"))
    #expect(!options.arguments[2].split(separator: ",").contains("ro"))
  }
}

@Suite struct EntryPackerTests {
  private func entry(
    _ name: String, _ attributes: NodeAttributes? = nil, _ body: (FolderEntry) -> Void
  ) {
    Array(name.utf8).withUnsafeBytes {
      body(
        FolderEntry(
          name: $0, inode: 77, kind: attributes?.kind ?? .folder, nextCookie: 9,
          attributes: attributes))
    }
  }

  @Test func aPlainEntryIsAFuseDirent() {
    var packer = EntryPacker(size: 4096, plus: false)
    entry("abc") { check(packer.add($0, mapper)) }
    // struct fuse_dirent: ino, off, namelen, type, name, padded to 8.
    let bytes = Array(packer.bytes)
    #expect(bytes.count == 32)
    #expect(bytes[0] == 77 && bytes[8] == 9 && bytes[16] == 3 && bytes[20] == DT_DIR)
    #expect(Array(bytes[24..<27]) == Array("abc".utf8))
  }

  @Test func anEntryThatDoesNotFitIsNotTaken() {
    var packer = EntryPacker(size: 70, plus: false)
    entry("a") { check(packer.add($0, mapper)) }
    entry("b") { check(packer.add($0, mapper)) }
    entry("c") { check(!packer.add($0, mapper)) }
    check(packer.bytes.count == 64)
  }

  @Test func withPlusAnEntryWithoutAttributesHasNodeZero() {
    var packer = EntryPacker(size: 4096, plus: true)
    entry(".") { check(packer.add($0, mapper)) }
    let first = packer.bytes.count
    let attributes = NodeAttributes(
      node: 3, inode: 77, kind: .file, size: 10, modified: 1, validFor: .seconds(60))
    entry("f", attributes) { check(packer.add($0, mapper)) }
    check(packer.bytes.load(as: UInt64.self) == 0)
    check(packer.bytes.load(fromByteOffset: first, as: UInt64.self) == 3)
    // entry_valid, after nodeid and generation.
    check(packer.bytes.load(fromByteOffset: first + 16, as: UInt64.self) == 60)
  }
}

@Suite struct AttributeMapperTests {
  @Test func attributesBecomeAStat() {
    let view = AttributeMapper(options)
    let status = view.status(
      of: NodeAttributes(
        node: 3, inode: 12, kind: .file, size: 513, modified: -5, validFor: .zero))
    #expect(status.st_ino == 12 && status.st_size == 513 && status.st_blocks == 2)
    #expect(status.st_uid == 5 && status.st_gid == 6 && status.st_mode == S_IFREG | 0o444)
    #expect(status.st_mtim.tv_sec == -5)
    #expect(view.mode(of: .folder) == S_IFDIR | 0o555)
  }

  @Test func ownerAndModeAreTheSourcesWhereNoneAreGivenAndUnknownOnesAreClosed() {
    var shown = options
    func status(_ rights: AccessRights?, _ kind: NodeAttributes.Kind = .file) -> stat {
      var attributes = NodeAttributes(
        node: 3, inode: 12, kind: kind, size: 1, modified: 0, validFor: .zero)
      attributes.rights = rights
      return AttributeMapper(shown).status(of: attributes)
    }
    let rights = AccessRights(owner: 1000, group: 100, mode: 0o640)
    #expect(status(rights).st_uid == 5 && status(rights).st_mode == S_IFREG | 0o444)
    shown.sourceAccess = SourceAccess(owner: true, group: true, fileMode: true, folderMode: true)
    #expect(status(rights).st_uid == 1000 && status(rights).st_gid == 100)
    #expect(status(rights).st_mode == S_IFREG | 0o440)
    #expect(status(nil).st_uid == 5 && status(nil).st_mode == S_IFREG | 0o400)
    #expect(status(nil, .folder).st_mode == S_IFDIR | 0o500)
    shown.sourceAccess = SourceAccess(
      owner: false, group: true, fileMode: false, folderMode: true)
    #expect(status(rights).st_uid == 5 && status(rights).st_gid == 100)
    #expect(status(rights).st_mode == S_IFREG | 0o444)
    #expect(status(rights, .folder).st_mode == S_IFDIR | 0o440)
  }

  @Test func timeoutsStayInTheRangeOfTheProtocol() {
    #expect(AttributeMapper.timeout(.milliseconds(1500)) == 1.5)
    #expect(AttributeMapper.timeout(.seconds(-1)) == 0)
    #expect(AttributeMapper.timeout(.seconds(Int64.max)) == 1e9)
  }

  @Test func whatIsNoErrnoBecomesEIO() {
    #expect(Errno.staleNFSFileHandle.replyCode == ESTALE)
    #expect(Errno(rawValue: 0).replyCode == EIO)
    #expect(Errno(rawValue: -3).replyCode == EIO)
    #expect(Errno(rawValue: 5000).replyCode == EIO)
  }
}

@Suite struct KernelDirectoryCacheTests {
  private let first = Instant(nanoseconds: 1)
  private let second = Instant(nanoseconds: 2)

  @Test func namesAreKeptAsLongAsTheListingIsTheSame() {
    var copies = KernelDirectoryCache()
    check(!copies.keepsNames(of: 1, listedAt: first))
    check(copies.keepsNames(of: 1, listedAt: first))
    check(!copies.keepsNames(of: 2, listedAt: first))
    check(!copies.keepsNames(of: 1, listedAt: second))
    check(copies.keepsNames(of: 1, listedAt: second))
    copies.forget(1)
    check(!copies.keepsNames(of: 1, listedAt: second))
  }

  @Test func theNumberOfFoldersRememberedIsBounded() {
    var copies = KernelDirectoryCache(limit: 2)
    for node in 1...3 as ClosedRange<NodeID> {
      check(!copies.keepsNames(of: node, listedAt: first))
    }
    check(copies.keepsNames(of: 2, listedAt: first))
    check(!copies.keepsNames(of: 3, listedAt: first))
    check(!copies.keepsNames(of: 2, listedAt: second))
    copies.forget(1)
    check(!copies.keepsNames(of: 3, listedAt: first))
    check(copies.keepsNames(of: 3, listedAt: first))
  }
}

@Suite struct RequestErrorLogTests {
  @Test func eachFailureIsCountedAndEachKindLoggedOnce() {
    let lines = Lock<[String]>([])
    let metrics = Metrics().fuse
    let failures = RequestErrorLog(
      metrics: metrics, log: Logger(label: "test") { _ in LineCollector(lines: lines) })
    for _ in 0..<100 { failures.record(.ioError, during: .read) }
    failures.record(.staleNFSFileHandle, during: .open)
    for ordinary in [Errno.noSuchFileOrDirectory, .noData, .readOnlyFileSystem] {
      failures.record(ordinary, during: .lookup)
    }
    #expect(metrics.errors.count == 101)
    let logged = lines.withLock { $0 }
    #expect(logged.count == 2)
    #expect(logged.first?.hasPrefix("read failed: ") == true)
  }

  private struct LineCollector: LogHandler {
    let lines: Lock<[String]>
    var metadata = Logger.Metadata()
    var logLevel = Logger.Level.trace

    init(lines: Lock<[String]>) { self.lines = lines }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
      get { metadata[key] }
      set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
      let line = event.message.description
      lines.withLock { $0.append(line) }
    }
  }
}

@Suite struct InitNegotiationTests {
  @Test func onlyWhatTheKernelCanIsAskedFor() {
    var connection = fuse_conn_info()
    connection.capable = UInt32(FUSE_CAP_ASYNC_READ) | UInt32(FUSE_CAP_SPLICE_READ)
    connection.want = UInt32(FUSE_CAP_SPLICE_READ)
    InitNegotiation.choose(on: &connection)
    #expect(connection.want == UInt32(FUSE_CAP_ASYNC_READ))
    #expect(connection.max_write == 1 << 20)
    #expect(connection.max_background == 128)
  }
}

@Suite struct MountErrorExplanationTests {
  @Test func aMountPointThatCannotBeIsToldInOneLine() {
    #expect(throws: MountError.self) { try MountErrorExplanation.resolve("/does/not/exist") }
    let error = #expect(throws: MountError.self) {
      try MountErrorExplanation.resolve("/etc/passwd")
    }
    #expect(error?.description == "mount point /etc/passwd is not a directory")
  }

  @Test func aMissingDeviceSaysHowToGetOne() {
    let error = #expect(throws: MountError.self) {
      try MountErrorExplanation.checkDevice("/does/not/exist")
    }
    #expect(error?.description.contains("modprobe fuse") == true)
  }

  @Test(arguments: [
    (
      "fusermount3: option allow_other only allowed if 'user_allow_other' is set in /etc/fuse.conf",
      "user_allow_other"
    ),
    ("fuse: failed to exec fusermount3: No such file or directory", "install the package fuse3"),
    ("fusermount3: user has no write access to mountpoint /x", "not writable"),
    ("fusermount3: mount failed: Operation not permitted", "--cap-add SYS_ADMIN"),
    ("fuse: bad mount point", "bad mount point"),
  ])
  func theWordsOfLibfuseBecomeTheUsers(words: String, expected: String) {
    let text = MountErrorExplanation.mount([words], at: "/mnt").description
    #expect(text.contains(expected))
    #expect(!text.contains("\n"))
  }
}

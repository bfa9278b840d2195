import CEngineShim
import Formats
import Glibc
public import ObjectStore
import Posix
import SystemPackage

/// What a store had at one moment: keys, sizes, times and etags, in a file of JSON lines. A mount of it
/// shows that and nothing else.
///
/// The first line says what it is of and what the rest must add up to; a file that was cut off or
/// changed is refused.
public struct Snapshot: Sendable, Equatable {
  public var name: String
  /// As the user wrote it: "s3://bucket/prefix".
  public var source: String
  /// What the store's cache is filed under: endpoint and bucket.
  public var identity: String
  /// Keys begin with it; empty, or ending in "/".
  public var prefix: ObjectKey
  /// Seconds since 1970, when the listing was begun.
  public var created: Int64
  public var objects: Int
  public var bytes: UInt64

  public init(
    name: String, source: String, identity: String, prefix: ObjectKey, created: Int64,
    objects: Int, bytes: UInt64
  ) {
    self.name = name
    self.source = source
    self.identity = identity
    self.prefix = prefix
    self.created = created
    self.objects = objects
    self.bytes = bytes
  }

  public static func isName(_ text: String) -> Bool {
    (1...64).contains(text.utf8.count) && text.utf8.first != UInt8(ascii: ".")
      && text.utf8.allSatisfy { byte in
        (48...57).contains(byte) || (65...90).contains(byte & 0xDF) || "._-".utf8.contains(byte)
      }
  }

  // MARK: Files

  /// The snapshots of a cache folder.
  public static func folder(in cache: String) -> String { cache + "/snapshots" }
  static func path(_ name: String, in cache: String) -> String {
    folder(in: cache) + "/" + name + ".jsonl"
  }

  /// By name; files that are none are left out.
  public static func all(in cache: String) -> [Snapshot] {
    var found: [Snapshot] = []
    for name in directoryNames(folder(in: cache)) ?? [] {
      guard name.hasSuffix(".jsonl"), let line = firstLine(folder(in: cache) + "/" + name),
        let (snapshot, _) = header(line)
      else { continue }
      found.append(snapshot)
    }
    return found.sorted { $0.name < $1.name }
  }

  /// True if it was there.
  public static func remove(_ name: String, in cache: String) throws(StoreError) -> Bool {
    if unlink(path(name, in: cache)) == 0 { return true }
    if errno == ENOENT { return false }
    throw failure(name, "cannot be removed: \(Errno.last)")
  }

  /// The snapshot and what it holds.
  public static func load(_ name: String, in cache: String) throws(StoreError) -> (
    Snapshot, Catalog
  ) {
    let path = path(name, in: cache)
    guard access(path, F_OK) == 0 else {
      let known = all(in: cache).map(\.name)
      throw failure(
        name, "there is no such snapshot",
        advice: (known.isEmpty ? "" : "there are \(known.joined(separator: ", ")); ")
          + "make one: millrace snapshot create \(name) SOURCE")
    }
    let text = try ManifestReader.load(path)
    let end = text.firstIndex(of: 10) ?? text.count
    guard let (snapshot, checksum) = header(text[..<end]), end < text.count else {
      throw failure(name, "the file \(path) is not a snapshot", advice: damaged)
    }
    let actual = text.withUnsafeBytes {
      millrace_crc32c(0, $0.baseAddress! + end + 1, $0.count - end - 1)
    }
    guard actual == checksum else {
      throw failure(name, "the file \(path) is corrupt", advice: damaged)
    }
    var builder = CatalogBuilder()
    do throws(ManifestLines.Malformed) {
      let rules = ManifestReader.Rules(prefix: snapshot.prefix, isOurs: true)
      try ManifestLines.readJSON(text, from: end + 1) {
        (fields, line) throws(ManifestLines.Malformed) in
        try ManifestReader.add(fields, line, rules, &builder)
      }
    } catch {
      throw failure(name, "the file \(path), line \(error.line + 1): \(error.reason)")
    }
    do throws(Catalog.Duplicate) {
      let catalog = try Catalog(builder)
      guard catalog.count == snapshot.objects else {
        throw Catalog.Duplicate(key: snapshot.prefix)
      }
      return (snapshot, catalog)
    } catch {
      throw failure(name, "the file \(path) is corrupt (checksum mismatch)", advice: damaged)
    }
  }

  private static let damaged = "remove it (millrace snapshot rm NAME) and make a new one"

  /// Writes it in one step: there is the whole file, or the one that was there before.
  public func write(_ catalog: Catalog, in cache: String) throws(StoreError) {
    let path = Self.path(name, in: cache)
    let temporary = path + ".new"
    do {
      try Self.makeFolders(Self.folder(in: cache))
      let file = try OwnedDescriptor.open(temporary, O_WRONLY | O_CREAT | O_TRUNC)
      guard let stream = fdopen(dup(file.raw), "w") else { throw Errno.last }
      // The checksum is known last, and takes its place in the first line then.
      var isWritten = put(headerLine(checksum: 0), stream)
      var checksum: UInt32 = 0
      for index in 0..<catalog.count where isWritten {
        let line = line(of: catalog.attributes(index))
        checksum = line.withUnsafeBytes { millrace_crc32c(checksum, $0.baseAddress, $0.count) }
        isWritten = put(line, stream)
      }
      rewind(stream)
      isWritten = isWritten && put(headerLine(checksum: checksum), stream)
      guard fclose(stream) == 0, isWritten, fsync(file.raw) == 0, rename(temporary, path) == 0
      else { throw Errno.last }
    } catch {
      unlink(temporary)
      throw Self.failure(name, "cannot be written to \(path): \(error)")
    }
  }

  private func headerLine(checksum: UInt32) -> [UInt8] {
    var text = Array("{\"millrace-snapshot\":1,\"crc32c\":\"".utf8)
    text += Array(Hex.encode(checksum).utf8)
    text += Array("\",\"name\":".utf8) + JSONValue.quoted(name.utf8)
    text += Array(",\"source\":".utf8) + JSONValue.quoted(source.utf8)
    text += Array(",\"identity\":".utf8) + JSONValue.quoted(identity.utf8)
    text += Array(",\"prefix\":".utf8) + JSONValue.quoted(prefix.bytes)
    text += Array(",\"created\":\(created),\"objects\":\(objects),\"bytes\":\(bytes)}\n".utf8)
    return text
  }

  private func line(of object: ObjectAttributes) -> [UInt8] {
    var text = Array("{\"path\":".utf8)
    text += JSONValue.quoted(object.key.bytes.dropFirst(prefix.bytes.count))
    text += Array(",\"size\":\(object.size ?? 0)".utf8)
    if let modified = object.modified { text += Array(",\"modified\":\(modified)".utf8) }
    if !object.etag.isEmpty {
      text += Array(",\"etag\":".utf8) + JSONValue.quoted(object.etag.utf8)
    }
    return text + Array("}\n".utf8)
  }

  private func put(_ bytes: [UInt8], _ stream: UnsafeMutablePointer<FILE>) -> Bool {
    fwrite(bytes, 1, bytes.count, stream) == bytes.count
  }

  private static func header(_ line: ArraySlice<UInt8>) -> (Snapshot, UInt32)? {
    let bytes = Array(line)
    var reader = JSONReader(bytes)
    guard let fields = try? reader.readObject() else { return nil }
    var values: [String: JSONReader.Value] = [:]
    for (name, value) in fields { values[String(decoding: name, as: UTF8.self)] = value }
    guard values["millrace-snapshot"]?.text == "1", let name = values["name"]?.text,
      let source = values["source"]?.text, let identity = values["identity"]?.text,
      let prefix = values["prefix"]?.bytes,
      let created = values["created"]?.text.flatMap({ ObjectTime.checked(Int64($0)) }),
      let objects = values["objects"]?.text.flatMap({ Int($0) }),
      let size = values["bytes"]?.text.flatMap({ UInt64($0) }),
      let checksum = values["crc32c"]?.text.flatMap({ UInt32($0, radix: 16) })
    else { return nil }
    return (
      Snapshot(
        name: name, source: source, identity: identity, prefix: ObjectKey(bytes: prefix),
        created: created, objects: objects, bytes: size), checksum
    )
  }

  private static func firstLine(_ path: String) -> ArraySlice<UInt8>? {
    guard let file = try? OwnedDescriptor.open(path, O_RDONLY) else { return nil }
    var bytes = [UInt8](repeating: 0, count: 16 << 10)
    let count = read(file.raw, &bytes, bytes.count)
    guard count > 0, let end = bytes[..<count].firstIndex(of: 10) else { return nil }
    return bytes[..<end]
  }

  private static func makeFolders(_ path: String) throws(Errno) {
    if mkdir(path, 0o700) == 0 || errno == EEXIST { return }
    if errno == ENOENT, let slash = path.lastIndex(of: "/"), slash != path.startIndex {
      try makeFolders(String(path[..<slash]))
      if mkdir(path, 0o700) == 0 || errno == EEXIST { return }
    }
    throw Errno.last
  }

  private static func failure(_ name: String, _ detail: String, advice: String = "") -> StoreError {
    StoreError(.invalidSource, store: "snapshot \(name)", detail: detail, advice: advice)
  }
}

import Glibc
import Posix

/// What the server has: a folder whose sub-folders are buckets, and objects that exist in name only.
///
/// The names are read once and kept sorted by their bytes, as S3 lists them; PUT and DELETE keep them up.
final class Objects: Sendable {
  struct Entry {
    var size: Int
    /// Seconds since 1970.
    var modified: Int
    var etag: String
    var isSynthetic = false
  }

  enum Content {
    /// The caller's to close.
    case file(CInt)
    case synthetic
  }

  private struct Bucket {
    var keys: [[UInt8]] = []
    var entries: [[UInt8]: Entry] = [:]

    func firstIndex(from key: [UInt8]) -> Int {
      var low = 0
      var high = keys.count
      while low < high {
        let middle = (low + high) / 2
        if keys[middle].lexicographicallyPrecedes(key) { low = middle + 1 } else { high = middle }
      }
      return low
    }

    mutating func set(_ key: [UInt8], _ entry: Entry) {
      if entries.updateValue(entry, forKey: key) == nil {
        keys.insert(key, at: firstIndex(from: key))
      }
    }

    mutating func remove(_ key: [UInt8]) {
      guard entries.removeValue(forKey: key) != nil else { return }
      keys.remove(at: firstIndex(from: key))
    }
  }

  /// A range of an object, copied.
  func bytes(_ content: Content, _ range: Range<Int>) -> [UInt8] {
    switch content {
    case .synthetic: return SyntheticBytes.shared.bytes(range)
    case .file(let file):
      var bytes = [UInt8](repeating: 0, count: range.count)
      var filled = 0
      while filled < bytes.count {
        let count = bytes.withUnsafeMutableBytes {
          pread(file, $0.baseAddress! + filled, $0.count - filled, off_t(range.lowerBound + filled))
        }
        guard count > 0 else { break }
        filled += count
      }
      return bytes
    }
  }

  let folder: String
  private let buckets = Lock<[String: Bucket]>([:])
  private let forests = Lock<[String: SyntheticTrees]>([:])

  init(folder: String) {
    self.folder = folder
    buckets.withLock { buckets in
      for (name, isFolder) in namesIn(folder) where isFolder {
        var bucket = Bucket()
        scan(folder + "/" + name, prefix: [], into: &bucket)
        bucket.keys.sort { $0.lexicographicallyPrecedes($1) }
        buckets[name] = bucket
      }
    }
  }

  private func scan(_ path: String, prefix: [UInt8], into bucket: inout Bucket) {
    for (name, isFolder) in namesIn(path) {
      let key = prefix + Array(name.utf8)
      if isFolder {
        scan(path + "/" + name, prefix: key + [0x2f], into: &bucket)
      } else if let entry = Self.entry(of: path + "/" + name) {
        bucket.entries[key] = entry
        bucket.keys.append(key)
      }
    }
  }

  static func entry(of path: String) -> Entry? {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    let stamp = status.st_mtim.tv_sec * 1_000_000_000 + status.st_mtim.tv_nsec
    return Entry(
      size: Int(status.st_size), modified: status.st_mtim.tv_sec,
      etag: "\"\(String(stamp, radix: 16))-\(String(Int(status.st_size), radix: 16))\"")
  }

  // MARK: Asked by requests

  var bucketNames: [String] {
    (buckets.withLock { Array($0.keys) } + forests.withLock { Array($0.keys) }).sorted()
  }

  func hasBucket(_ name: String) -> Bool {
    trees(name) != nil || buckets.withLock { $0[name] != nil }
  }

  func entry(_ bucket: String, _ key: [UInt8]) -> Entry? {
    if let trees = trees(bucket) { return trees.entry(key) }
    return buckets.withLock { $0[bucket]?.entries[key] }
  }

  /// Nil: not a bucket of trees.
  func trees(_ bucket: String) -> SyntheticTrees? { forests.withLock { $0[bucket] } }

  func addTree(_ bucket: String, _ tree: SyntheticTree) throws {
    let isApart = forests.withLock { forests in
      buckets.withLock({ $0[bucket] == nil })
        && forests[bucket, default: SyntheticTrees()].add(tree)
    }
    guard isApart else {
      throw SyntheticTree.Bad(
        description: "bucket \(bucket) has other objects, or a tree in the same place")
    }
  }

  func addSynthetic(_ bucket: String, _ key: [UInt8], size: Int) {
    let entry = Entry(
      size: size, modified: 1_700_000_000, etag: "\"synthetic-\(size)\"", isSynthetic: true)
    buckets.withLock { $0[bucket, default: Bucket()].set(key, entry) }
  }

  func open(_ bucket: String, _ key: [UInt8], _ entry: Entry) -> Content? {
    if entry.isSynthetic { return .synthetic }
    let file = Glibc.open(path(bucket, key), O_RDONLY | O_CLOEXEC)
    return file >= 0 ? .file(file) : nil
  }

  func makeBucket(_ name: String) {
    mkdir(folder + "/" + name, 0o755)
    buckets.withLock { buckets in
      if buckets[name] == nil { buckets[name] = Bucket() }
    }
  }

  /// Takes a finished file in under its key.
  func put(_ temporary: String, _ bucket: String, _ key: [UInt8]) -> Entry? {
    let target = path(bucket, key)
    var parent = folder + "/" + bucket
    for part in String(decoding: key, as: UTF8.self).split(separator: "/").dropLast() {
      parent += "/" + part
      mkdir(parent, 0o755)
    }
    guard rename(temporary, target) == 0, let entry = Self.entry(of: target) else { return nil }
    buckets.withLock { $0[bucket]?.set(key, entry) }
    return entry
  }

  func delete(_ bucket: String, _ key: [UInt8]) {
    unlink(path(bucket, key))
    buckets.withLock { $0[bucket]?.remove(key) }
  }

  private func path(_ bucket: String, _ key: [UInt8]) -> String {
    folder + "/" + bucket + "/" + String(decoding: key, as: UTF8.self)
  }

  // MARK: Listing

  struct Page {
    var objects: [(key: [UInt8], entry: Entry)] = []
    var prefixes: [[UInt8]] = []
    /// Where the next page goes on; nil at the end.
    var next: [UInt8]?
  }

  /// The page that `query` asks for; nil: no such bucket.
  func list(_ bucket: String, _ query: ListQuery) -> Page? {
    buckets.withLock { buckets in
      guard let bucket = buckets[bucket] else { return nil }
      var page = Page()
      var index = bucket.firstIndex(from: query.firstKey)
      while index < bucket.keys.count {
        let key = bucket.keys[index]
        guard key.starts(with: query.prefix) else { break }
        if key == query.start {
          index += 1
          continue
        }
        if let end = query.endOfCommonPrefix(of: key) {
          let common = Array(key[..<end])
          // The next key that does not begin with it.
          let behind = common.dropLast() + [common.last! + 1]
          index = bucket.firstIndex(from: Array(behind))
          if common == query.start { continue }
          if page.objects.count + page.prefixes.count == query.limit { return page }
          page.prefixes.append(common)
          page.next = common
        } else {
          if page.objects.count + page.prefixes.count == query.limit { return page }
          page.objects.append((key, bucket.entries[key]!))
          page.next = key
          index += 1
        }
      }
      page.next = nil
      return page
    }
  }
}

/// Names in a folder and whether each is a folder; links are followed.
func namesIn(_ path: String) -> [(String, isFolder: Bool)] {
  guard let stream = opendir(path) else { return [] }
  defer { closedir(stream) }
  var names: [(String, Bool)] = []
  while let entry = readdir(stream) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
      String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    if name == "." || name == ".." { continue }
    var status = stat()
    guard stat(path + "/" + name, &status) == 0 else { continue }
    names.append((name, status.st_mode & S_IFMT == S_IFDIR))
  }
  return names
}

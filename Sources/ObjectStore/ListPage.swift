/// One page of a folder's listing, packed: a million names pass through pages like this, so that an
/// entry costs no allocation of its own.
///
/// A page may be empty and still have a next one. Stores give keys in order of their bytes where
/// they can (S3 does, objects and folders each); a folder counts as its name with "/".
public struct ListPage: Sendable {
  public struct Item: Sendable {
    /// Where the key is in `bytes`, "/" included for a folder; the etag follows it.
    var start: UInt32
    var keyLength: UInt32
    var etagLength: UInt32
    public var isFolder: Bool
    public var isArchived: Bool
    var knowsSize: Bool
    var storedSize: UInt64
    /// Seconds since 1970; `nil` where the store does not say.
    public var modified: Int64?

    /// Bytes; `nil` where the listing does not know it exactly.
    public var size: UInt64? { knowsSize ? storedSize : nil }
  }

  /// Objects directly in the folder and the folders directly in it, in the order they were added. The
  /// folder's own marker (a key equal to `folder`) is left out.
  public private(set) var items: [Item] = []
  private var bytes: [UInt8] = []
  public var next: String?
  /// The folder is there even if it has no names (S3: its marker was in the page; a file system: the
  /// folder opened). Only asked of a page that is empty.
  public var folderExists: Bool
  /// Objects that were left out because the store states more bytes than can be read.
  public private(set) var oversized = 0
  /// As in `addFolder`, of the folder that was listed itself.
  public var folderETag = ""

  /// `room`: bytes of keys and etags that it takes.
  public init(next: String? = nil, folderExists: Bool = false, room: Int = bytesMax) {
    self.room = room
    self.next = next
    self.folderExists = folderExists
  }

  public init(
    objects: [ObjectAttributes], folders: [ObjectKey], next: String?, folderExists: Bool = false
  ) {
    self.init(next: next, folderExists: folderExists)
    for object in objects { add(object) }
    for folder in folders { addFolder(folder) }
  }

  /// Bytes of keys and etags that a page may hold. Each of a million entries has its folder's path again: a long path
  /// times many entries is more than what the store sent.
  public static let bytesMax = 256 << 20
  private var room = Self.bytesMax

  /// It was given more than `bytesMax`: what came after that is not in it.
  public private(set) var isCutOff = false

  private mutating func hasRoom(for count: Int) -> Bool {
    if bytes.count + count > room { isCutOff = true }
    return !isCutOff
  }

  /// Of all keys and etags.
  public var byteCount: Int { bytes.count }

  public var isEmpty: Bool { items.isEmpty }

  public mutating func reserve(items count: Int, bytes size: Int) {
    items.reserveCapacity(count)
    bytes.reserveCapacity(size)
  }

  public mutating func add(_ object: ObjectAttributes) {
    if object.isOversized { return leaveOut() }
    object.key.bytes.withUnsafeBytes { key in
      var etag = object.etag
      etag.withUTF8 {
        add(
          key: key, etag: UnsafeRawBufferPointer($0), size: object.size, modified: object.modified,
          isArchived: object.isArchived)
      }
    }
  }

  /// `size`: as it was stated. What cannot be read is counted and left out.
  public mutating func add(
    key: UnsafeRawBufferPointer, etag: UnsafeRawBufferPointer, size: UInt64?, modified: Int64?,
    isArchived: Bool
  ) {
    if let size, !ObjectSize.isReadable(size) { return leaveOut() }
    guard hasRoom(for: key.count + etag.count) else { return }
    items.append(
      Item(
        start: UInt32(bytes.count), keyLength: UInt32(key.count), etagLength: UInt32(etag.count),
        isFolder: false, isArchived: isArchived, knowsSize: size != nil, storedSize: size ?? 0,
        modified: ObjectTime.checked(modified)))
    bytes.append(contentsOf: key)
    bytes.append(contentsOf: etag)
  }

  private mutating func leaveOut() {
    oversized += 1
    // A name below it is there, even if it is not shown.
    folderExists = true
  }

  /// A full key that ends in "/". `etag`: changes with the folder's `AccessRights`, which are its end.
  public mutating func addFolder(_ key: ObjectKey, etag: String = "") {
    guard hasRoom(for: key.bytes.count + etag.utf8.count) else { return }
    key.bytes.withUnsafeBytes { addFolder($0) }
    items[items.count - 1].etagLength = UInt32(etag.utf8.count)
    bytes.append(contentsOf: etag.utf8)
  }

  public mutating func addFolder(_ key: UnsafeRawBufferPointer) {
    guard hasRoom(for: key.count) else { return }
    items.append(
      Item(
        start: UInt32(bytes.count), keyLength: UInt32(key.count), etagLength: 0, isFolder: true,
        isArchived: false, knowsSize: true, storedSize: 0, modified: nil))
    bytes.append(contentsOf: key)
  }

  /// Removes items by their keys.
  public mutating func removeItems(where isUnwanted: (UnsafeRawBufferPointer) -> Bool) {
    let left = withContents { contents in items.filter { !isUnwanted(contents.key($0)) } }
    items = left
  }

  /// All of `other`'s items behind these; its `next`.
  public mutating func append(_ other: ListPage) {
    next = other.next
    folderExists = folderExists || other.folderExists
    guard !other.isCutOff, hasRoom(for: other.bytes.count) else {
      isCutOff = true
      return
    }
    let shift = UInt32(bytes.count)
    bytes += other.bytes
    items += other.items.map { item in
      var item = item
      item.start += shift
      return item
    }
    oversized += other.oversized
  }

  /// The keys and etags of the items, in place.
  public func withContents<Result>(_ body: (Contents) throws -> Result) rethrows -> Result {
    try bytes.withUnsafeBytes { try body(Contents(bytes: $0)) }
  }

  public struct Contents {
    let bytes: UnsafeRawBufferPointer

    public func key(_ item: Item) -> UnsafeRawBufferPointer {
      let start = Int(item.start)
      return UnsafeRawBufferPointer(rebasing: bytes[start..<start + Int(item.keyLength)])
    }

    public func etag(_ item: Item) -> UnsafeRawBufferPointer {
      let start = Int(item.start) + Int(item.keyLength)
      return UnsafeRawBufferPointer(rebasing: bytes[start..<start + Int(item.etagLength)])
    }
  }

  /// Copies, for those who look at a few.
  public var objects: [ObjectAttributes] {
    withContents { contents in
      items.lazy.filter { !$0.isFolder }.map { item in
        ObjectAttributes(
          key: ObjectKey(bytes: Array(contents.key(item))), size: item.size,
          modified: item.modified, etag: String(decoding: contents.etag(item), as: UTF8.self),
          isArchived: item.isArchived)
      }
    }
  }

  /// Full keys of the folders, each ending in "/"; copies.
  public var folders: [ObjectKey] {
    withContents { contents in
      items.lazy.filter(\.isFolder).map { ObjectKey(bytes: Array(contents.key($0))) }
    }
  }
}

public import ObjectStore
import Posix

/// A tree of objects held in memory, sorted by key: of a manifest or a snapshot. It answers listings
/// and heads in place of a store.
///
/// Packed: 40 bytes an object, its key, its etag and where it is fetched from if not by its key.
public final class Catalog: Sendable {
  struct Record {
    var start: UInt64
    var size: UInt64
    /// Seconds since 1970; `unknownTime` where no time is given.
    var modified: Int64
    var keyLength: UInt32
    var targetLength: UInt32
    var etagLength: UInt16
    var targetIsURL: Bool
  }

  static let unknownTime = Int64.min

  let records: [Record]
  private let bytes: [UInt8]
  public let totalBytes: UInt64
  /// Some object is fetched from elsewhere than its key.
  public let hasTargets: Bool

  public var count: Int { records.count }

  public struct Duplicate: Error, Sendable {
    public var key: ObjectKey
  }

  public init(_ builder: consuming CatalogBuilder) throws(Duplicate) {
    bytes = builder.bytes
    var records = builder.records
    let bytes = bytes
    func key(_ record: Record) -> ArraySlice<UInt8> {
      bytes[Int(record.start)..<Int(record.start) + Int(record.keyLength)]
    }
    let isSorted = zip(records, records.dropFirst()).allSatisfy { key($0) < key($1) }
    if !isSorted { records.sort { key($0) < key($1) } }
    for (one, other) in zip(records, records.dropFirst()) where key(one) == key(other) {
      throw Duplicate(key: ObjectKey(bytes: Array(key(one))))
    }
    totalBytes = records.reduce(0) { $0.addingSaturated($1.size) }
    hasTargets = records.contains { $0.targetLength > 0 }
    self.records = records
  }

  func key(_ record: Record) -> ArraySlice<UInt8> {
    bytes[Int(record.start)..<Int(record.start) + Int(record.keyLength)]
  }

  private func etag(_ record: Record) -> ArraySlice<UInt8> {
    let start = Int(record.start) + Int(record.keyLength)
    return bytes[start..<start + Int(record.etagLength)]
  }

  enum Target: Equatable {
    case key(ObjectKey)
    case url(String)
  }

  /// Where an object is fetched from, if not from its own key.
  func target(of key: ObjectKey) -> Target? {
    guard hasTargets, let record = record(of: key), record.targetLength > 0 else { return nil }
    let start = Int(record.start) + Int(record.keyLength) + Int(record.etagLength)
    let target = bytes[start..<start + Int(record.targetLength)]
    return record.targetIsURL
      ? .url(String(decoding: target, as: UTF8.self)) : .key(ObjectKey(bytes: Array(target)))
  }

  public func attributes(of key: ObjectKey) -> ObjectAttributes? {
    record(of: key).map { attributes($0) }
  }

  public func attributes(_ index: Int) -> ObjectAttributes { attributes(records[index]) }

  private func attributes(_ record: Record) -> ObjectAttributes {
    ObjectAttributes(
      key: ObjectKey(bytes: Array(key(record))), size: record.size,
      modified: record.modified == Self.unknownTime ? nil : record.modified,
      etag: String(decoding: etag(record), as: UTF8.self))
  }

  private var keys: SortedKeys {
    SortedKeys(count: records.count) { [self] in key(records[$0]) }
  }

  /// At most `limit` names (at least one) of a folder, from the index in `cursor` on.
  func page(of folder: ObjectKey, cursor: String?, limit: Int) -> ListPage {
    keys.page(of: folder, cursor: cursor, limit: limit) { index, page in
      let record = records[index]
      key(record).withUnsafeBytes { key in
        etag(record).withUnsafeBytes { etag in
          page.add(
            key: key, etag: etag, size: record.size,
            modified: record.modified == Self.unknownTime ? nil : record.modified,
            isArchived: false)
        }
      }
    }
  }

  private func record(of key: ObjectKey) -> Record? { keys.index(of: key).map { records[$0] } }
}

/// Objects on their way into a catalog, in any order.
public struct CatalogBuilder: Sendable {
  fileprivate(set) var records: [Catalog.Record] = []
  fileprivate(set) var bytes: [UInt8] = []

  public init() {}

  public var count: Int { records.count }

  /// False: the etag is longer than 64 KiB, and the object was not taken.
  @discardableResult
  public mutating func add(_ object: ObjectAttributes) -> Bool {
    add(
      key: object.key.bytes, size: object.size ?? 0, modified: object.modified,
      etag: Array(object.etag.utf8), target: nil)
  }

  @discardableResult
  mutating func add(
    key: [UInt8], size: UInt64, modified: Int64?, etag: [UInt8], target: Catalog.Target?
  ) -> Bool {
    guard etag.count <= Int(UInt16.max) else { return false }
    let place: [UInt8] =
      switch target {
      case nil: []
      case .key(let key): key.bytes
      case .url(let url): Array(url.utf8)
      }
    var isURL = false
    if case .url = target { isURL = true }
    records.append(
      Catalog.Record(
        start: UInt64(bytes.count), size: size, modified: modified ?? Catalog.unknownTime,
        keyLength: UInt32(key.count), targetLength: UInt32(place.count),
        etagLength: UInt16(etag.count), targetIsURL: isURL))
    bytes += key
    bytes += etag
    bytes += place
    return true
  }
}

extension ArraySlice<UInt8> {
  fileprivate static func < (left: ArraySlice<UInt8>, right: ArraySlice<UInt8>) -> Bool {
    left.lexicographicallyPrecedes(right)
  }
}

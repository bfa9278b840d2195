import Formats
import ObjectStore

/// A repository's tree at one commit: which documents of the hub list it, and how they are read.
struct HubTree: Sendable {
  /// ".../api/datasets/OWNER/NAME/tree/COMMIT/".
  let listing: HTTPURL
  /// Seconds since 1970 of the commit: the hub tells no times of files in listings.
  let modified: Int64?

  struct Malformed: Error { var reason: String }

  /// The address of a folder's listing.
  func url(of folder: ObjectKey) -> HTTPURL {
    var url = listing
    var path = folder.bytes
    if path.last == UInt8(ascii: "/") { path.removeLast() }
    if path.isEmpty { url.target.removeLast() }
    url.target += PercentEncoding.encode(path, keepsSlash: true) + "?recursive=false&expand=false"
    return url
  }

  /// `[{"type": "file", "oid": ..., "size": ..., "path": ..., "lfs": {...}}, {"type": "directory", ...}]`.
  /// `prefix`: the folder whose children these must be.
  func page(_ body: [UInt8], of folder: ObjectKey) throws(Malformed) -> ListPage {
    var page = ListPage(folderExists: true)
    var stray: String?
    var reader = JSONReader(body)
    do throws(JSONReader.Malformed) {
      try reader.readObjects { fields in
        var path: [UInt8] = []
        var oid = ""
        var size: UInt64?
        var isFolder = false
        for (name, value) in fields {
          switch String(decoding: name, as: UTF8.self) {
          case "path": path = value.bytes ?? []
          case "oid": oid = value.text ?? ""
          case "size": size = value.text.flatMap { ObjectSize.parse($0) }
          case "type": isFolder = value.text == "directory"
          default: break
          }
        }
        let child = path.dropFirst(folder.bytes.count)
        guard path.starts(with: folder.bytes), ObjectName.isSegment(child) else {
          stray = String(decoding: path.prefix(80), as: UTF8.self)
          return
        }
        if isFolder {
          page.addFolder(ObjectKey(bytes: path + [UInt8(ascii: "/")]))
        } else {
          // Identifies the content, whichever server sends it: so it is no ETag to compare responses with.
          page.add(
            ObjectAttributes(
              key: ObjectKey(bytes: path), size: size, modified: modified, etag: "git:\(oid)"))
        }
      }
    } catch {
      throw Malformed(reason: "broken JSON at byte \(error.offset): \(error.reason)")
    }
    if let stray { throw Malformed(reason: "'\(stray)' is not in the directory") }
    return page
  }

  /// The commit that a revision is, and its time.
  static func commit(_ body: [UInt8]) throws(Malformed) -> (sha: String, modified: Int64?) {
    var reader = JSONReader(body)
    var sha: String?
    var modified: Int64?
    do throws(JSONReader.Malformed) {
      for (name, value) in try reader.readObject() {
        switch String(decoding: name, as: UTF8.self) {
        case "sha": sha = value.text
        case "lastModified": modified = value.text.flatMap { UTCTime.listed($0) }
        default: break
        }
      }
    } catch {
      throw Malformed(reason: "broken JSON at byte \(error.offset): \(error.reason)")
    }
    guard let sha, !sha.isEmpty, sha.utf8.allSatisfy({ Hex.value($0) != nil }) else {
      throw Malformed(reason: "the response has no commit")
    }
    return (sha, modified)
  }

  /// The address in `Link: <...>; rel="next"`.
  static func next(_ link: String?) -> String? {
    for part in (link ?? "").split(separator: ",") {
      guard part.contains("rel=\"next\""), let start = part.firstIndex(of: "<"),
        let end = part[start...].firstIndex(of: ">")
      else { continue }
      return String(part[part.index(after: start)..<end])
    }
    return nil
  }
}

import ObjectStore

/// What one page of a listing is requested with: of the objects now, of those at a moment, or of one key's versions.
struct S3ListQuery {
  let request: ListRequest
  /// nil where the request has none, or one that is invalid.
  let cursor: ListCursor?
  /// The versions of this key alone.
  let exactKey: ObjectKey?
  /// Seconds since 1970; nil: the objects as they are now.
  let moment: Int64?

  init(_ request: ListRequest, exactKey: ObjectKey? = nil, at moment: Int64? = nil) {
    self.request = request
    cursor = request.cursor.flatMap(ListCursor.init)
    self.exactKey = exactKey
    self.moment = moment
  }

  /// Names and values, raw.
  func parameters(_ dialect: S3Site.ListingDialect) -> [(name: String, value: [UInt8])] {
    var query: [(name: String, value: [UInt8])] = [
      ("max-keys", Array(String(max(1, min(request.limit, 1000))).utf8)),
      ("prefix", (exactKey ?? request.folder).bytes),
    ]
    if exactKey == nil { query.append(("delimiter", Array("/".utf8))) }
    if moment != nil { return query + versionQuery(dialect) }
    if dialect.encodes { query.append(("encoding-type", Array("url".utf8))) }
    if !dialect.usesV1 { query.append(("list-type", [UInt8(ascii: "2")])) }
    if let after = request.after, cursor == nil {
      query.append((dialect.usesV1 ? "marker" : "start-after", after.bytes))
    }
    if let cursor {
      let name = dialect.usesV1 ? "marker" : "continuation-token"
      query.append((name, Array(cursor.token.utf8)))
    }
    return query
  }

  private func versionQuery(
    _ dialect: S3Site.ListingDialect
  ) -> [(name: String, value: [UInt8])] {
    var query: [(name: String, value: [UInt8])] = [("versions", [])]
    if dialect.encodes { query.append(("encoding-type", Array("url".utf8))) }
    if let place = cursor.flatMap({ S3VersionListing.Place(token: $0.token) }) {
      query.append(("key-marker", place.key))
      // Without it a listing goes on behind the key.
      if !place.version.isEmpty { query.append(("version-id-marker", Array(place.version.utf8))) }
    }
    return query
  }
}

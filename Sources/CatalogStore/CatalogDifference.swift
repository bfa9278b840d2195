public import ObjectStore

/// What is different between two catalogs, in the order of keys.
public struct CatalogDifference: Sendable {
  public struct Line: Sendable, Equatable {
    /// "+" added, "~" changed, "-" removed.
    public var mark: String
    public var key: ObjectKey
  }

  public private(set) var lines: [Line] = []
  public private(set) var added = 0
  public private(set) var changed = 0
  public private(set) var removed = 0

  public init(_ old: Catalog, _ new: Catalog) {
    var before = 0
    var after = 0
    while before < old.count || after < new.count {
      let left = before < old.count ? old.attributes(before) : nil
      let right = after < new.count ? new.attributes(after) : nil
      if let left, right == nil || left.key < right!.key {
        lines.append(Line(mark: "-", key: left.key))
        removed += 1
        before += 1
      } else if let right, left == nil || right.key < left!.key {
        lines.append(Line(mark: "+", key: right.key))
        added += 1
        after += 1
      } else {
        if left?.version != right?.version {
          lines.append(Line(mark: "~", key: left!.key))
          changed += 1
        }
        before += 1
        after += 1
      }
    }
  }
}

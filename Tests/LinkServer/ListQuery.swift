/// What a listing is asked for.
struct ListQuery {
  var prefix: [UInt8] = []
  var delimiter: UInt8?
  /// Names up to and with this one are not wanted.
  var start: [UInt8] = []
  var limit = 1000
  /// Keys are to be percent-encoded.
  var isEncoded = false

  /// No key below it is wanted.
  var firstKey: [UInt8] { prefix.lexicographicallyPrecedes(start) ? start : prefix }

  /// Bytes of `key`, which begins with the prefix, up to and with the delimiter; nil where there is none.
  func endOfCommonPrefix(of key: [UInt8]) -> Int? {
    guard let delimiter else { return nil }
    var index = prefix.count
    while index < key.count {
      if key[index] == delimiter { return index + 1 }
      index += 1
    }
    return nil
  }
}

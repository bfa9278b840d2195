/// Where names of a folder are likely to lie: names seen as numbers, so that one can say which name
/// is some thousand names further on.
///
/// Each position of a name is a digit of an alphabet (decimal, hex, letters) that the names suggest. Where
/// they still have the same beginning, what is before the first difference counts up in the same
/// alphabet as far as it is of it: "img_000" goes on to "img_001", and "0" to "f" if the rest is hex. A
/// guess that is wrong costs a request, never an entry.
struct KeyspacePartitioner {
  /// Positions from the first difference on; with those before it, 95 to the 14th fits 128 bits.
  private static let tail = 5
  /// Positions before the first difference that may count up as well: "img_000" before "000999".
  private static let lead = 9

  private let prefix: [UInt8]
  /// Sorted bytes a position.
  private let alphabets: [[UInt8]]
  private let weights: [UInt128]
  private let total: UInt128

  /// `names`: in order, at least two. Nil if they tell nothing.
  init?(_ names: [[UInt8]]) {
    guard let first = names.first, let last = names.last, first != last else { return nil }
    let common = zip(first, last).prefix { $0 == $1 }.count
    let differing = (common..<common + Self.tail).map { position in
      Set(names.compactMap { position < $0.count ? $0[position] : nil })
    }
    // Most names begin to differ in what numbers them: the first positions tell of what that is made.
    let counting = Self.alphabet(differing[0].union(differing[1]))
    var start = common
    while start > 0, common - start < Self.lead, counting.contains(first[start - 1]) { start -= 1 }
    prefix = Array(first[..<start])
    var alphabets = Array(repeating: counting, count: common - start)
    for bytes in differing {
      if bytes.isEmpty { break }
      alphabets.append(Self.alphabet(bytes))
    }
    var weight: UInt128 = 1
    var weights: [UInt128] = []
    for alphabet in alphabets.reversed() {
      weights.append(weight)
      weight *= UInt128(alphabet.count)
    }
    self.alphabets = alphabets
    self.weights = weights.reversed()
    total = weight
  }

  /// Bytes of the classes that were seen; what is neither digit nor letter stands for itself.
  private static func alphabet(_ bytes: Set<UInt8>) -> [UInt8] {
    let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
    let hex = UInt8(ascii: "a")...UInt8(ascii: "f")
    let lower = UInt8(ascii: "a")...UInt8(ascii: "z")
    let upper = UInt8(ascii: "A")...UInt8(ascii: "Z")
    var all = bytes
    let hasDigits = bytes.contains { digits.contains($0) }
    if hasDigits { all.formUnion(digits) }
    let low = bytes.filter { lower.contains($0) }
    // One letter in all names is a word, not a digit.
    if low.count > 1 || (hasDigits && !low.isEmpty) {
      all.formUnion(low.allSatisfy { hex.contains($0) } && hasDigits ? hex : lower)
    }
    if bytes.filter({ upper.contains($0) }).count > 1 { all.formUnion(upper) }
    return all.sorted()
  }

  /// The number of a name; names outside of what was seen get that of their next neighbour.
  func value(_ name: [UInt8]) -> UInt128 {
    let head = name.prefix(prefix.count)
    if !head.elementsEqual(prefix) {
      return head.lexicographicallyPrecedes(prefix) ? 0 : total - 1
    }
    var value: UInt128 = 0
    for (index, alphabet) in alphabets.enumerated() {
      guard prefix.count + index < name.count else { break }
      let byte = name[prefix.count + index]
      let digit = alphabet.firstIndex { $0 >= byte } ?? alphabet.count - 1
      value += UInt128(digit) * weights[index]
    }
    return value
  }

  /// The name of a number; nil past the last.
  func name(_ value: UInt128) -> [UInt8]? {
    guard value < total else { return nil }
    var rest = value
    var name = prefix
    for (index, alphabet) in alphabets.enumerated() {
      name.append(alphabet[Int(rest / weights[index])])
      rest %= weights[index]
    }
    return name
  }
}

/// "Did you mean ...?": the nearest of some names.
enum Suggestion {
  /// nil: none is near enough to be meant.
  static func nearest(to word: String, in names: some Sequence<String>) -> String? {
    let typed = Array(word.lowercased().utf8)
    let limit = max(1, typed.count / 3)
    let found = names.map { (name: $0, distance: distance(typed, Array($0.lowercased().utf8))) }
      .min { $0.distance < $1.distance }
    return found.flatMap { $0.distance <= limit ? $0.name : nil }
  }

  /// Inserted, deleted, replaced and swapped bytes between two words.
  static func distance(_ first: [UInt8], _ second: [UInt8]) -> Int {
    var before: [Int] = []
    var last = Array(0...second.count)
    for row in first.indices {
      var next = [row + 1]
      for column in second.indices {
        let isSame = first[row] == second[column]
        var cost = min(last[column] + (isSame ? 0 : 1), last[column + 1] + 1, next[column] + 1)
        if row > 0, column > 0, first[row] == second[column - 1], first[row - 1] == second[column] {
          cost = min(cost, before[column - 1] + 1)
        }
        next.append(cost)
      }
      before = last
      last = next
    }
    return last[second.count]
  }
}

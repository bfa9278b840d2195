/// A picture of the ratios: a group of bars a line of the table, a bar a system, 1 being the bound or the
/// plain folder. Legible on light and dark pages.
enum Plot {
  private static let colours: [SystemKind: String] = [
    .millrace: "#2a9d8f", .plainPath: "#7cc6bd", .ordinary: "#b9ddd8", .s3fs: "#e9c46a",
    .rclone: "#f4a261", .juicefs: "#e76f51",
  ]
  private static let left = 330
  private static let width = 420
  private static let bar = 11

  static func svg(_ results: Results) -> String {
    let measures = results.measures.filter { !$0.isWait && results.reference($0) != nil }
    let kinds = SystemKind.allCases.filter { kind in
      kind != .plain && measures.contains { results.median($0, kind) != nil }
    }
    var y = 40
    var parts: [String] = []
    for (index, kind) in kinds.enumerated() {
      let x = 10 + index % 3 * 250
      let line = 14 + index / 3 * 16
      parts.append(
        "<rect x=\"\(x)\" y=\"\(line - 9)\" width=\"10\" height=\"10\" fill=\"\(colours[kind]!)\"/>"
      )
      parts.append(text(x + 16, line, kind.rawValue))
    }
    y += kinds.count > 3 ? 16 : 0
    let top = y
    for measure in measures {
      let shown = kinds.filter { results.ratio(measure, $0) != nil }
      guard !shown.isEmpty else { continue }
      let middle = y + shown.count * bar / 2 + 4
      parts.append(text(left - 8, middle, measure.name, end: true))
      for kind in shown {
        let ratio = results.ratio(measure, kind)!
        let length = max(1, Int(min(ratio, 1.25) * Double(width) * 0.8))
        parts.append(
          "<rect x=\"\(left)\" y=\"\(y)\" width=\"\(length)\" height=\"\(bar - 2)\" fill=\"\(colours[kind]!)\"/>"
        )
        parts.append(text(left + length + 4, y + bar - 3, hundredths(ratio), small: true))
        y += bar
      }
      y += 9
    }
    let one = left + width * 8 / 10
    parts.append(
      "<line x1=\"\(one)\" y1=\"\(top - 6)\" x2=\"\(one)\" y2=\"\(y)\" stroke=\"#888\" stroke-dasharray=\"3 3\"/>"
    )
    return """
      <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(left + width + 40) \(y + 10)" \
      font-family="sans-serif" font-size="12" fill="#888">
      \(parts.joined(separator: "\n"))
      </svg>

      """
  }

  private static func text(
    _ x: Int, _ y: Int, _ words: String, end: Bool = false, small: Bool = false
  ) -> String {
    "<text x=\"\(x)\" y=\"\(y)\"\(end ? " text-anchor=\"end\"" : "")\(small ? " font-size=\"9\"" : "")>\(words)</text>"
  }
}

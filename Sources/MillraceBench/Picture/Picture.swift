/// The README's picture: four panels, in each a bar for each system. Longer is better in all of them. Legible on light
/// and dark pages. Pure.
struct Picture {
  struct Bar: Equatable {
    var name: String
    var value: Double
    /// As it is printed beside the bar: "66 %", "6,146".
    var text: String
    var kind: SystemKind
  }

  struct Panel: Equatable {
    var title: String
    var bars: [Bar]
  }

  var panels: [Panel]

  private static let colours: [SystemKind: String] = [
    .plain: "#8d99ae", .millrace: "#2a9d8f", .s3fs: "#e9c46a", .rclone: "#f4a261",
    .juicefs: "#e76f51",
  ]
  private static let panelWidth = 420
  private static let nameWidth = 130
  private static let barWidth = 200
  private static let barHeight = 16

  var svg: String {
    var parts: [String] = []
    let columns = 2
    var y = 0
    for row in stride(from: 0, to: panels.count, by: columns) {
      let inRow = panels[row..<min(row + columns, panels.count)]
      for (column, panel) in inRow.enumerated() {
        draw(panel, column * Self.panelWidth, y, &parts)
      }
      y += 40 + (inRow.map(\.bars.count).max() ?? 0) * (Self.barHeight + 4)
    }
    return """
      <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(columns * Self.panelWidth) \(y)" \
      font-family="sans-serif" font-size="12" fill="#888">
      \(parts.joined(separator: "\n"))
      </svg>

      """
  }

  private func draw(_ panel: Panel, _ left: Int, _ top: Int, _ parts: inout [String]) {
    parts.append(
      "<text x=\"\(left + 8)\" y=\"\(top + 18)\" font-weight=\"bold\">\(panel.title)</text>")
    let most = panel.bars.map(\.value).max() ?? 0
    var y = top + 28
    for bar in panel.bars {
      let share = most > 0 ? max(0, bar.value / most) : 0
      let length = max(1, Int(share * Double(Self.barWidth)))
      let x = left + Self.nameWidth
      let base = y + Self.barHeight - 4
      parts.append("<text x=\"\(x - 6)\" y=\"\(base)\" text-anchor=\"end\">\(bar.name)</text>")
      parts.append(
        "<rect x=\"\(x)\" y=\"\(y)\" width=\"\(length)\" height=\"\(Self.barHeight)\" "
          + "fill=\"\(Self.colours[bar.kind] ?? "#888")\"/>")
      parts.append("<text x=\"\(x + length + 5)\" y=\"\(base)\">\(bar.text)</text>")
      y += Self.barHeight + 4
    }
  }

  /// The same as a table of Markdown, a panel a line.
  var markdown: String {
    panels.map { panel in
      "- \(panel.title): "
        + panel.bars.map { "\($0.name) \($0.text)" }.joined(separator: ", ")
    }.joined(separator: "\n")
  }
}

extension Picture {
  /// The panels of what was measured; a system that was not measured has no bar.
  ///
  /// - names: seconds of `find` over `objects` names, by system.
  init(
    training: TrainingResults, small: Results,
    names: [(kind: SystemKind, objects: Int, seconds: Double)]
  ) {
    func share(_ phase: TrainingResults.Phase) -> [Bar] {
      let line = TrainingResults.Line(shape: .files, phase: phase)
      return Self.order.compactMap { kind in
        let epochs = training.values[line]?[kind] ?? []
        guard let busy = median(epochs.map { training.busy(line, $0.loop) }) else { return nil }
        return Bar(
          name: Self.name(kind), value: busy, text: "\(Int((busy * 100).rounded())) %", kind: kind)
      }
    }
    let files = small.measures.first { $0.unit == "files/s" && $0.name.hasSuffix("from disk") }
    panels = [
      Panel(title: "First epoch: GPU busy, nothing cached", bars: share(.cold)),
      Panel(title: "Second epoch: GPU busy", bars: share(.warm)),
      Panel(
        title: "Small files from the disk cache, files/s",
        bars: Self.order.compactMap { kind in
          guard let rate = files.flatMap({ small.median($0, kind) }) else { return nil }
          return Bar(name: Self.name(kind), value: rate, text: grouped(Int(rate)), kind: kind)
        }),
      Panel(
        title: "First find in a large tree, names/s",
        bars: Self.order.flatMap { kind in names.filter { $0.kind == kind && $0.seconds > 0 } }
          .map { it in
            let rate = Double(it.objects) / it.seconds
            return Bar(
              name: "\(Self.name(it.kind)), \(Self.short(it.objects))", value: rate,
              text: "\(grouped(Int(rate))) (\(Self.time(it.seconds)))", kind: it.kind)
          }),
    ].filter { !$0.bars.isEmpty }
  }

  private static let order: [SystemKind] = [.plain, .millrace, .juicefs, .rclone, .s3fs]

  private static func name(_ kind: SystemKind) -> String {
    switch kind {
    case .plain: "local disk"
    case .millrace: "Millrace"
    default: kind.rawValue
    }
  }

  /// "20k", "1M".
  private static func short(_ count: Int) -> String {
    count >= 1_000_000 ? "\(count / 1_000_000)M" : "\(count / 1000)k"
  }

  private static func time(_ seconds: Double) -> String { "\(hundredths(seconds)) s" }
}

/// The texts of several mounts as one, in which all lines of a metric stand together.
///
/// A text comes from the daemon of any user, and Prometheus drops a scrape in which one line is wrong. So only lines of
/// metrics in `MetricTable` are taken, with their own labels, and their heads are written here. By bytes, since a
/// scrape of many mounts has a million of them.
struct MergedMetrics {
  /// Lines that one mount may have, of a metric and in all. This program writes about 150, and 200 more with the names
  /// of processes.
  private static let linesOfMetric = 80
  private static let linesOfMount = 500
  /// Bytes of a line.
  private static let byteLimit = 1024

  /// Of each metric of `MetricTable.all`.
  private var lines = [[UInt8]](repeating: [], count: MetricTable.all.count)

  private static let places: [ArraySlice<UInt8>: Int] = {
    var places: [ArraySlice<UInt8>: Int] = [:]
    for (place, metric) in MetricTable.all.enumerated() {
      let suffixes = metric.kind == .histogram ? ["_bucket", "_sum", "_count"] : [""]
      for suffix in suffixes { places[Array((metric.name + suffix).utf8)[...]] = place }
    }
    return places
  }()

  /// UTF-8.
  var text: [UInt8] {
    var text: [UInt8] = []
    text.reserveCapacity(lines.reduce(0) { $0 + $1.count } + 16_384)
    for (metric, lines) in zip(MetricTable.all, lines) where !lines.isEmpty {
      text += MetricsText.head(metric).utf8
      text += lines
    }
    return text
  }

  /// `labels` tell the lines of a mount from those of others. False: the text is not one of these metrics, and nothing
  /// of it was taken. Metrics that this version does not know are left out.
  mutating func add(_ text: [UInt8], _ labels: [(name: String, value: String)]) -> Bool {
    let own = Array(MetricsText.shown(labels).utf8)
    var samples: [(place: Int, sample: SampleLine)] = []
    var counts = [Int](repeating: 0, count: lines.count)
    for line in text.split(separator: UInt8(ascii: "\n")) where line.first != UInt8(ascii: "#") {
      guard line.count <= Self.byteLimit, let sample = SampleLine(line) else { return false }
      guard let place = Self.places[sample.name] else { continue }
      counts[place] += 1
      guard counts[place] <= Self.linesOfMetric, samples.count < Self.linesOfMount,
        sample.isOf(MetricTable.all[place])
      else { return false }
      samples.append((place, sample))
    }
    for (place, sample) in samples {
      lines[place] += sample.name
      lines[place].append(UInt8(ascii: "{"))
      lines[place] += own
      if !sample.labels.isEmpty { lines[place].append(UInt8(ascii: ",")) }
      lines[place] += sample.labels
      lines[place] += [UInt8(ascii: "}"), UInt8(ascii: " ")]
      lines[place] += sample.value
      lines[place].append(UInt8(ascii: "\n"))
    }
    return true
  }
}

/// A line `name{labels} value` or `name value`, in the form in which `MetricsText` writes it.
struct SampleLine {
  let name: ArraySlice<UInt8>
  /// As in the line, without the braces.
  let labels: ArraySlice<UInt8>
  let labelNames: [ArraySlice<UInt8>]
  let value: ArraySlice<UInt8>

  /// Nil: it is not such a line.
  init?(_ line: ArraySlice<UInt8>) {
    var rest = line
    name = Self.take(&rest) { isLetter($0) || isDigit($0) }
    guard let first = name.first, isLetter(first) else { return nil }
    var names: [ArraySlice<UInt8>] = []
    if rest.first == UInt8(ascii: "{") {
      rest.removeFirst()
      let start = rest
      repeat {
        guard let name = Self.label(&rest) else { return nil }
        names.append(name)
      } while Self.takes(",", &rest)
      labels = start[..<rest.startIndex]
      guard Self.takes("}", &rest) else { return nil }
    } else {
      labels = rest[..<rest.startIndex]
    }
    labelNames = names
    guard Self.takes(" ", &rest), !rest.isEmpty, Self.isNumber(rest),
      String(validating: labels, as: UTF8.self) != nil
    else { return nil }
    value = rest
  }

  /// Whether it has the labels of a metric, each once.
  func isOf(_ metric: MetricDefinition) -> Bool {
    let wanted =
      metric.labels + (metric.kind == .histogram && name.suffix(7) == Self.bucket ? ["le"] : [])
    return wanted.count == labelNames.count
      && zip(wanted, labelNames).allSatisfy { $0.utf8.elementsEqual($1) }
  }

  private static let bucket = Array("_bucket".utf8)[...]

  private static func take(
    _ rest: inout ArraySlice<UInt8>, while isPart: (UInt8) -> Bool
  ) -> ArraySlice<UInt8> {
    let part = rest.prefix(while: isPart)
    rest = rest[part.endIndex...]
    return part
  }

  private static func takes(_ character: Unicode.Scalar, _ rest: inout ArraySlice<UInt8>) -> Bool {
    guard rest.first == UInt8(ascii: character) else { return false }
    rest.removeFirst()
    return true
  }

  /// `name="value"`, where a backslash stands before a backslash, a quotation mark or an n. Returns the name.
  private static func label(_ rest: inout ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
    let name = take(&rest, while: isLetter)
    guard !name.isEmpty, takes("=", &rest), takes("\"", &rest) else { return nil }
    while let byte = rest.popFirst() {
      switch byte {
      case UInt8(ascii: "\""): return name
      case UInt8(ascii: "\\"):
        guard let next = rest.popFirst(), "\\\"n".utf8.contains(next) else { return nil }
      case 0..<32, 127: return nil
      default: break
      }
    }
    return nil
  }

  private static func isNumber(_ text: ArraySlice<UInt8>) -> Bool {
    text.elementsEqual("NaN".utf8)
      || (text.count < 40 && text.allSatisfy { isDigit($0) || "+-.e".utf8.contains($0) }
        // What overflows is an error to Prometheus.
        && Double(String(decoding: text, as: UTF8.self))?.isFinite == true)
  }
}

private func isLetter(_ byte: UInt8) -> Bool {
  (97...122).contains(byte) || byte == UInt8(ascii: "_")
}

private func isDigit(_ byte: UInt8) -> Bool { (48...57).contains(byte) }

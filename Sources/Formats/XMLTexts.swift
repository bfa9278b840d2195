/// The texts of a small XML document, by the names of their elements, however deep: the answers of services that give
/// credentials. Of several elements of one name the first counts. A document that breaks off has what came before.
public struct XMLTexts {
  private var texts: [String: String] = [:]

  /// Reads as far as it can be read.
  public init(_ document: [UInt8]) {
    document.withUnsafeBytes { bytes in
      var reader = XMLReader(bytes)
      // What is missing is reported by who looks for it.
      try? read(&reader)
    }
  }

  /// Without white space round it; nil: there is no such element, or nothing in it.
  public subscript(name: String) -> String? { texts[name].flatMap { $0.isEmpty ? nil : $0 } }

  private mutating func read(_ reader: inout XMLReader) throws(XMLReader.SyntaxError) {
    var open: [(name: String, text: [UInt8])] = []
    while let event = try reader.next() {
      switch event {
      case .start(let name): open.append((reader.string(name), []))
      case .text(let text): try reader.append(text, to: &open[open.count - 1].text)
      case .end:
        let element = open.removeLast()
        let text = String(decoding: element.text, as: UTF8.self)
        let start = text.drop(while: \.isWhitespace)
        let end = start.lastIndex { !$0.isWhitespace }.map { start.index(after: $0) }
        if texts[element.name] == nil {
          texts[element.name] = String(start[..<(end ?? start.startIndex)])
        }
      }
    }
  }
}

public import Posix

/// Input of random tests.
extension SeededGenerator {
  public mutating func bytes(upTo count: Int) -> [UInt8] {
    (0..<Int.random(in: 0...count, using: &self)).map { _ in
      UInt8.random(in: 0...255, using: &self)
    }
  }

  public mutating func text(of alphabet: String, upTo count: Int) -> String {
    let letters = Array(alphabet)
    return String(
      (0..<Int.random(in: 0...count, using: &self)).map { _ in letters.randomElement(using: &self)!
      })
  }

  /// A copy with a few bytes changed, dropped, doubled, or the end cut off.
  public mutating func damaged(_ bytes: [UInt8]) -> [UInt8] {
    var bytes = bytes
    for _ in 0...Int.random(in: 0...4, using: &self) where !bytes.isEmpty {
      let place = Int.random(in: 0..<bytes.count, using: &self)
      switch UInt8.random(in: 0..<4, using: &self) {
      case 0: bytes[place] = UInt8.random(in: 0...255, using: &self)
      case 1: bytes.remove(at: place)
      case 2: bytes.insert(bytes.randomElement(using: &self)!, at: place)
      default: bytes.removeLast(bytes.count - place)
      }
    }
    return bytes
  }
}

import Glibc
import Posix

/// What a node opens, epoch by epoch: files by number. Made from a seed.
struct Trace {
  /// Of each file, bytes on disk.
  var sizes: [UInt64]
  /// Which files are opened, in which order.
  var epochs: [[Int]]
  /// What a cache's share is a share of: the files of one epoch, unless the kind says otherwise.
  var bytes: UInt64

  /// What is read, and how often.
  enum Kind: String, CaseIterable {
    case shuffled = "shuffled, equal sizes"
    case shuffledMixed = "shuffled, log-normal sizes"
    case sequential = "always the same order"
    case succession = "A for 4 epochs, then B for 4"
    case validation = "validation of a tenth after each epoch"
    case drawn = "drawn with replacement, Zipf 0.8"
    case shards = "another random quarter each epoch"
    case growing = "a tenth more files each epoch"

    /// In full, with orders.
    var isMain: Bool { self == .shuffled || self == .shuffledMixed }
  }

  init(sizes: [UInt64], epochs: [[Int]], bytes: UInt64) {
    self.sizes = sizes
    self.epochs = epochs
    self.bytes = bytes
  }

  init(_ kind: Kind, files: Int, seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    let count = kind == .succession || kind == .validation || kind == .growing ? 2 * files : files
    let sizes = (0..<count).map { _ in
      kind == .shuffledMixed ? Self.logNormal(using: &random) : 112 << 10
    }
    let epochs = Self.epochs(kind, files, using: &random)
    let basis = kind == .growing ? epochs.last! : Array(0..<files)
    bytes = basis.reduce(0) { $0 + sizes[$1] }
    self.sizes = sizes
    self.epochs = epochs
  }

  private static func epochs(
    _ kind: Kind, _ files: Int, using random: inout SeededGenerator
  ) -> [[Int]] {
    switch kind {
    case .shuffled, .shuffledMixed:
      return (0..<6).map { _ in (0..<files).shuffled(using: &random) }
    case .sequential:
      return (0..<6).map { _ in Array(0..<files) }
    case .succession:
      return (0..<8).map { epoch in
        let first = epoch < 4 ? 0 : files
        return (first..<first + files).shuffled(using: &random)
      }
    case .validation:
      let held = Array(files..<files + files / 10)
      return (0..<6).map { _ in (0..<files).shuffled(using: &random) + held }
    case .drawn:
      return drawn(files, using: &random)
    case .shards:
      return (0..<16).map { _ in
        Array((0..<files).shuffled(using: &random).prefix(files / 4))
      }
    case .growing:
      return (0..<6).map { epoch in
        (0..<files * (10 + epoch) / 10).shuffled(using: &random)
      }
    }
  }

  private static func drawn(_ files: Int, using random: inout SeededGenerator) -> [[Int]] {
    var sum = 0.0
    let sums = (0..<files).map { rank -> Double in
      sum += pow(Double(rank + 1), -0.8)
      return sum
    }
    let names = (0..<files).shuffled(using: &random)
    return (0..<6).map { _ in
      (0..<files).map { _ in
        let point = Double.random(in: 0..<sum, using: &random)
        var (low, high) = (0, files - 1)
        while low < high {
          let middle = (low + high) / 2
          if sums[middle] > point { high = middle } else { low = middle + 1 }
        }
        return names[low]
      }
    }
  }

  /// Of pictures: a median of 100 KB, a few of many times that. In blocks of a file system.
  private static func logNormal(using random: inout SeededGenerator) -> UInt64 {
    let radius = (-2 * log(Double.random(in: 1e-12..<1, using: &random))).squareRoot()
    let normal = radius * cos(2 * Double.pi * Double.random(in: 0..<1, using: &random))
    let bytes = min(100e6, exp(log(100e3) + normal))
    return (UInt64(bytes) + 4095) / 4096 * 4096 + 4096
  }
}

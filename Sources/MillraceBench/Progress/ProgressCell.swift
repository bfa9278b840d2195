/// One case of `make bench-progress`: how much of the data the cache holds, how large files are, how much memory the
/// daemon has, what the loader says of its order.
struct ProgressCell: Hashable, CustomStringConvertible {
  enum Order: String, CaseIterable {
    case none = "no order"
    case one = "order of the epoch"
    case two = "order of two epochs"
  }

  static let ratios = [0.1, 0.25, 0.5, 1]
  /// Bytes of a file, and how many there are: data of 200 MB to 3 GB, so that one epoch takes seconds.
  static let shapes: [(size: Int, count: Int)] = [
    (100_000, 2000), (10_000_000, 40), (100_000_000, 10), (1_000_000_000, 3),
  ]
  /// `--memory-limit`, bytes; nil: the default.
  static let memories: [Int?] = [64 << 20, 256 << 20, nil]

  var ratio: Int
  var shape: Int
  var memory: Int
  var order: Order

  static let all: [ProgressCell] = ratios.indices.flatMap { ratio in
    shapes.indices.flatMap { shape in
      memories.indices.flatMap { memory in
        Order.allCases.map {
          ProgressCell(ratio: ratio, shape: shape, memory: memory, order: $0)
        }
      }
    }
  }

  /// Cells in which each two values of any two of the four stand together at least once.
  static let covering: [ProgressCell] = {
    var left = Set(all.flatMap(\.pairs))
    var chosen: [ProgressCell] = []
    while !left.isEmpty {
      let best = all.max { left.intersection($0.pairs).count < left.intersection($1.pairs).count }!
      left.subtract(best.pairs)
      chosen.append(best)
    }
    return chosen.sorted { ($0.shape, $0.ratio) < ($1.shape, $1.ratio) }
  }()

  /// Every two of its values.
  var pairs: [[Int]] {
    let values = [ratio, shape, memory, Order.allCases.firstIndex(of: order)!]
    return values.indices.flatMap { first in
      (first + 1..<values.count).map { [first, values[first], $0, values[$0]] }
    }
  }

  var files: Int { Self.shapes[shape].count }
  var size: Int { Self.shapes[shape].size }
  var data: Int { files * size }
  var cache: Int { Int(Double(data) * Self.ratios[ratio]) }

  /// The least that this cache permits, bytes: the data once, then what does not fit for each later epoch.
  func least(epochs: Int) -> Int { data + (epochs - 1) * (data - min(data, cache)) }

  var description: String {
    let memory = Self.memories[memory].map { "\($0 >> 20) MiB" } ?? "default"
    let size = size < 1_000_000 ? "\(size / 1000) KB" : "\(size / 1_000_000) MB"
    return "cache \(Self.ratios[ratio]) of \(files) x \(size), memory \(memory), \(order.rawValue)"
  }
}

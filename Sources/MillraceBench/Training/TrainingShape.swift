/// A training loop: what its files are like, what a step takes. Tests/Tools/training.py has the same by name.
enum TrainingShape: String, CaseIterable {
  /// 110 KB a file, batch 50, 60 ms a step: small pictures.
  case files
  /// The same with ten times as many.
  case many
  case unet3d, resnet50, cosmoflow, retinanet

  /// As training.py calls it.
  var loop: String { self == .many ? "files" : rawValue }

  var explanation: String {
    switch self {
    case .files: "2,000 files of 110 KB in 20 directories, batch 50, 60 ms a step"
    case .many: "20,000 files of 110 KB in 20 directories, batch 50, 60 ms a step"
    case .unet3d: "112 .npz files of 9.2 +- 4.3 MB, batch 7, 323 ms a step (unet3d, 1/16)"
    case .resnet50:
      "10 TFRecord files of 800 samples of 114,660 bytes, batch 400, 224 ms (resnet50)"
    case .cosmoflow: "2,000 files of 353 KB, batch 1, 3.5 ms a step (cosmoflow, 1/8)"
    case .retinanet: "2,400 files of 323 KB, batch 24, 47.6 ms a step (retinanet)"
    }
  }

  func files(isQuick: Bool) -> Int {
    switch self {
    case .files: isQuick ? 500 : 2000
    case .many: isQuick ? 2000 : 20_000
    case .unet3d: isQuick ? 14 : 112
    case .resnet50: isQuick ? 4 : 10
    case .cosmoflow: isQuick ? 300 : 2000
    case .retinanet: isQuick ? 240 : 2400
    }
  }

  /// MLPerf Storage counts a run without its first step; the loop of small files counts from the mount.
  var countsFromTheMount: Bool { self == .files || self == .many }

  /// Systems that are slow beyond measure need not show it with ten times as many files.
  func isFor(_ kind: SystemKind) -> Bool { self != .many || kind == .plain || kind.isMillrace }
}

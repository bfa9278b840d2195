import Metrics

/// What a mount's readers wait for, in a sentence, and what helps. Pure.
struct TopVerdict {
  var mountPoint: String
  var source: String
  /// 0: the store responds.
  var unreachableSeconds = 0.0
  /// It responds, and asks for fewer requests.
  var isThrottled = false
  var lastError: String?
  /// Bytes read and files opened in the interval.
  var bytes: UInt64 = 0
  var opens: UInt64 = 0
  /// The row that waited most: its name, the share of its time, and that by cause.
  var name = ""
  var waitShare = 0.0
  var causes: [WaitCause: Double] = [:]
  var hitRatio: Double?
  var hitRatioAtDoubleSize: Double?

  /// Below this share of a reader's time, no cause is named.
  static let littleWait = 0.05
  /// By so much the hit ratio rises with twice the cache before it is worth naming.
  private static let worthwhileGain = 0.1

  var text: String {
    if unreachableSeconds > 0, isThrottled {
      return "The store has throttled all requests for \(Figure.uptime(unreachableSeconds))"
        + (lastError.map { " (\($0))" } ?? "")
        + "; reads wait for it. Send fewer: --max-requests-per-second."
    }
    if unreachableSeconds > 0 {
      return "The store has been unreachable for \(Figure.uptime(unreachableSeconds))"
        + (lastError.map { " (\($0))" } ?? "")
        + "; reads wait for it. Check it: millrace doctor \(source)"
    }
    if waitShare < Self.littleWait {
      return bytes == 0 && opens == 0
        ? "No process reads this mount at the moment."
        : "Readers do not wait: at most \(Figure.percent(waitShare)) of their time."
    }
    guard
      let (cause, share) = causes.max(by: {
        ($0.value, $1.key.rawValue) < ($1.value, $0.key.rawValue)
      })
    else { return "\(name) waits \(Figure.percent(waitShare)) of its time." }
    return "\(name) waits \(Figure.percent(waitShare)) of its time; main cause: \(cause.title) "
      + "(\(Figure.percent(share))). \(advice(cause))"
  }

  private func advice(_ cause: WaitCause) -> String {
    switch cause {
    case .listing:
      return
        "List the tree once before the run: millrace warm \(mountPoint); keep listings longer: --metadata-ttl."
    case .queue:
      return
        "Requests wait for others in flight: see in flight and throttled in millrace stats --all \(mountPoint)."
    case .limit: return "Raise --max-bandwidth or --max-requests-per-second."
    case .disk:
      return "Put the cache on a faster disk: --cache-dir; compare disks with millrace doctor."
    case .firstByte, .bandwidth:
      if let gain = cacheAdvice { return gain }
      return cause == .firstByte
        ? "Read with more workers, give the order (millrace order \(mountPoint)) or prefetch all: millrace warm \(mountPoint)."
        : "The network is the limit. Fetch before the run: millrace warm \(mountPoint)."
    }
  }

  private var cacheAdvice: String? {
    guard let ratio = hitRatio, let twice = hitRatioAtDoubleSize,
      twice - ratio >= Self.worthwhileGain
    else { return nil }
    return "Twice the cache would raise the hit ratio from \(Figure.ratio(ratio)) to "
      + "\(Figure.ratio(twice)): --cache-size."
  }
}

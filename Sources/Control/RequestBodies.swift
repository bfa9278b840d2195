import Posix

/// The bodies of requests that are being read: all together may be as large as one.
final class RequestBodies: Sendable {
  private let limit: Int
  private let used = Lock(0)

  /// `limit`: bytes.
  init(limit: Int) { self.limit = limit }

  func begin() -> Body { Body(self) }

  /// A body as it arrives. One task appends to it; its bytes are given back with the last reference.
  final class Body: @unchecked Sendable {
    enum Excess {
      /// It is larger than any body may be.
      case own
      /// Others hold the rest.
      case others
    }

    private let owner: RequestBodies
    private(set) var bytes: [UInt8] = []
    private(set) var excess: Excess?
    private var held = 0

    fileprivate init(_ owner: RequestBodies) { self.owner = owner }

    /// What goes beyond the limit is dropped, with all that came before it.
    func append(_ part: some Collection<UInt8>) {
      guard excess == nil else { return }
      if bytes.count + part.count > owner.limit { return drop(.own) }
      let fits = owner.used.withLock { used in
        guard used + part.count <= owner.limit else { return false }
        used += part.count
        return true
      }
      guard fits else { return drop(.others) }
      held += part.count
      bytes.append(contentsOf: part)
    }

    private func drop(_ reason: Excess) {
      excess = reason
      bytes = []
      giveBack()
    }

    private func giveBack() {
      owner.used.withLock { $0 -= held }
      held = 0
    }

    deinit { giveBack() }
  }
}

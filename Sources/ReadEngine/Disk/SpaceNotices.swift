/// What the disk tier lets others know about its space: that idle files should be closed, that there may be room.
import Posix
import Synchronization

final class SpaceNotices: Sendable {
  private struct State {
    var pressureHandler: Callback<Void, Void>?
    var roomHandler: Callback<Void, Void>?
    var lastAsked = Instant(nanoseconds: 0)
  }

  private let state = Lock(State())
  /// A planned fetch was refused and waits for room. Each close looks at it, without the lock.
  private let isRoomWanted = Atomic(false)

  /// Unless it is urgent, idle files are closed no more often.
  private static let interval = Duration.seconds(1)

  /// Called on any thread, no lock held: what is held open for later use is to be closed.
  func onPressure(_ handler: @escaping @Sendable () -> Void) {
    state.withLock { $0.pressureHandler = Callback(handler) }
  }

  /// Called once there may be room again after `wantRoom`, on any thread, no lock held.
  func onRoom(_ handler: @escaping @Sendable () -> Void) {
    state.withLock { $0.roomHandler = Callback(handler) }
  }

  /// Has files that are open only for later use closed. False: that was not long ago, and it is not urgent.
  @discardableResult func closeIdleFiles(isUrgent: Bool = true) -> Bool {
    let (isDue, handler) = state.withLock { state -> (Bool, Callback<Void, Void>?) in
      if isUrgent { return (true, state.pressureHandler) }
      guard Instant.now - state.lastAsked > Self.interval else { return (false, nil) }
      state.lastAsked = .now
      return (true, state.pressureHandler)
    }
    handler?(())
    return isDue
  }

  /// `onRoom` is called once there may be room again.
  func wantRoom() { isRoomWanted.store(true, ordering: .relaxed) }

  /// True if `onRoom` was to be called; it is not until the next `wantRoom`.
  func forgetRoom() -> Bool { isRoomWanted.exchange(false, ordering: .relaxed) }

  /// A file was closed or removed, or a reservation ended.
  func roomMayBeFree() {
    guard isRoomWanted.load(ordering: .relaxed),
      isRoomWanted.exchange(false, ordering: .relaxed)
    else { return }
    state.withLock { $0.roomHandler }?(())
  }
}

/// Where a daemon answers, and who has to be the one that does.
public struct ControlSocket: Sendable, Equatable {
  public var path: String
  /// uid of the daemon; root is let answer as well. nil: any user.
  public var owner: UInt32?

  public init(path: String, owner: UInt32?) {
    self.path = path
    self.owner = owner
  }
}

public struct MountError: Error, Sendable, CustomStringConvertible {
  /// One line for the user, with what to do.
  public var description: String
  public init(_ description: String) { self.description = description }
}

/// A function to be kept in a `Lock`.
///
/// As the bare state of a generic type, a function is wrapped anew each time it is looked at, and what was
/// wrapped is stored back: calls get slower without end. Inside a struct it stays as it is.
public struct Callback<Input, Output>: Sendable {
  private let body: @Sendable (Input) -> Output

  public init(_ body: @escaping @Sendable (Input) -> Output) { self.body = body }

  public func callAsFunction(_ input: Input) -> Output { body(input) }
}

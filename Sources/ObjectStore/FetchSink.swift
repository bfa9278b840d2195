/// Receives a fetch. Calls come one after another, from the store's thread.
///
/// No requirement has a default: a sink that forgot one would lose what it says. A store that stands before another
/// gives that the sink it was given, or its `mappingErrors`, and has no sink of its own.
public protocol FetchSink: AnyObject, Sendable {
  /// The next bytes. They are the version's that was asked for: length, range and validator were
  /// checked before. After a retry inside the store delivery goes on where it stopped. Copy them:
  /// the memory is the store's.
  func receive(_ bytes: UnsafeRawBufferPointer)

  /// The range comes from its start, and none of its bytes counts before a successful end: the store
  /// verifies them as a whole. May come again, where they did not stand the test; what came is void then.
  func beginVerified()

  /// A reader waits for its bytes now: what is only fetched ahead may take its time. From any thread.
  var isAwaited: Bool { get }

  /// A request for its bytes was held back for so long by a rate limit that the user set: no fault of the store's.
  func waitedForLimit(_ time: Duration)

  /// The end, exactly once, and nothing after it. Success means that every byte was delivered.
  func finish(_ result: Result<Void, StoreError>)
}

extension FetchSink {
  /// This sink, with the error of a failed end changed on its way here.
  public func mappingErrors(
    _ change: @escaping @Sendable (StoreError) -> StoreError
  ) -> any FetchSink {
    ErrorMappingSink(self, change)
  }
}

/// The one sink that stands before another.
private final class ErrorMappingSink: FetchSink {
  private let sink: any FetchSink
  private let change: @Sendable (StoreError) -> StoreError

  init(_ sink: any FetchSink, _ change: @escaping @Sendable (StoreError) -> StoreError) {
    self.sink = sink
    self.change = change
  }

  func receive(_ bytes: UnsafeRawBufferPointer) { sink.receive(bytes) }
  func beginVerified() { sink.beginVerified() }
  var isAwaited: Bool { sink.isAwaited }
  func waitedForLimit(_ time: Duration) { sink.waitedForLimit(time) }
  func finish(_ result: Result<Void, StoreError>) { sink.finish(result.mapError(change)) }
}

import Logging
import Metrics
import TestSupport
import Transport

@testable import HTTPStore

/// An HTTP store with a transport of its own, ended with its owner.
final class TestSite {
  let metrics = Metrics()
  let store: HTTPStore
  var calls: StoreCalls { StoreCalls(store: store, owner: self) }

  init(_ url: String, manifest: String? = nil) throws {
    let transport = Transport(
      configuration: TransportConfiguration(), metrics: metrics.store,
      log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    do {
      store = try HTTPStore(
        url: url, options: HTTPStoreOptions(manifest: manifest), transport: transport,
        metrics: metrics.store)
    } catch {
      transport.shutdown()
      throw error
    }
  }

  deinit { store.shutdown() }
}

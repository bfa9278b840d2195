import Glibc
import Logging
import Metrics
import ObjectStore
import Posix

/// What doctor looks at when it is given a source: name, route, keys, listing, one read.
enum SourceChecks {
  static func run(_ settings: Settings, _ show: (Finding) -> Void) {
    let log = Logger(label: "doctor", factory: { _ in SwiftLogNoOpLogHandler() })
    let mounted: StoreFactory.Mounted
    do {
      mounted = try StoreFactory.make(settings, metrics: Metrics().store, log: log)
    } catch {
      show(Finding(grade: .fail, what: "source", detail: "\(Failure(error))"))
      return
    }
    defer { mounted.store.shutdown() }
    for warning in mounted.warnings {
      show(Finding(grade: .warn, what: "secrets", detail: warning))
    }
    if let access = mounted.access { show(Finding(grade: .ok, what: "keys", detail: access)) }
    var route = mounted.origin.flatMap(endpoint).map(connect)
    if let found = route, found.grade == .ok { show(found) }
    defer { if let found = route, found.grade != .ok { show(found) } }
    do throws(StoreError) {
      let page = try StoreProbe.listing(mounted)
      if route?.grade == .fail {
        // By a proxy it need not be known or reached from here.
        route?.grade = .warn
        route?.advice = "the store answers all the same, so by a proxy: nothing to do"
      }
      show(Finding(grade: .ok, what: "listing", detail: "\(mounted.name) answers"))
      show(try read(mounted, page))
    } catch {
      show(Finding(grade: .fail, what: "store", detail: error.description))
    }
  }

  /// Host and port of a URL.
  static func endpoint(_ url: String) -> (host: String, port: String)? {
    guard let mark = url.firstRange(of: "://") else { return nil }
    var host = url[mark.upperBound...].prefix { $0 != "/" && $0 != "?" }
    if let at = host.lastIndex(of: "@") { host = host[host.index(after: at)...] }
    let standard = url.lowercased().hasPrefix("https") ? "443" : "80"
    if host.hasPrefix("[") {
      guard let end = host.firstIndex(of: "]") else { return nil }
      let port = host[host.index(after: end)...].dropFirst()
      return (
        String(host[host.index(after: host.startIndex)..<end]),
        port.isEmpty ? standard : String(port)
      )
    }
    guard let colon = host.lastIndex(of: ":") else { return (String(host), standard) }
    return (String(host[..<colon]), String(host[host.index(after: colon)...]))
  }

  private static func connect(_ host: String, _ port: String) -> Finding {
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var list: UnsafeMutablePointer<addrinfo>?
    let result = getaddrinfo(host, port, &hints, &list)
    guard result == 0, let first = list else {
      return Finding(
        grade: .fail, what: "name", detail: "\(host): \(String(cString: gai_strerror(result)))",
        advice: "check the spelling and /etc/resolv.conf")
    }
    defer { freeaddrinfo(list) }
    var reason = ""
    var next: UnsafeMutablePointer<addrinfo>? = first
    while let address = next?.pointee {
      guard let problem = tryConnect(address) else {
        return Finding(
          grade: .ok, what: "route", detail: "\(host) port \(port) accepts connections")
      }
      reason = problem
      next = address.ai_next
    }
    return Finding(
      grade: .fail, what: "route", detail: "\(host) port \(port): \(reason)",
      advice:
        "check the address, the firewall and whether the server runs (a proxy is not tried here)")
  }

  /// nil once connected, within five seconds.
  private static func tryConnect(_ address: addrinfo) -> String? {
    let descriptor = socket(
      address.ai_family, address.ai_socktype | O_NONBLOCK | O_CLOEXEC, address.ai_protocol)
    guard descriptor >= 0 else { return systemMessage() }
    defer { close(descriptor) }
    if Glibc.connect(descriptor, address.ai_addr, address.ai_addrlen) == 0 { return nil }
    guard errno == EINPROGRESS else { return systemMessage() }
    var wanted = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
    guard poll(&wanted, 1, 5000) == 1 else { return "no answer within 5 seconds" }
    var code: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size)
    return code == 0 ? nil : systemMessage(code)
  }

  private static func read(_ mounted: StoreFactory.Mounted, _ page: ListPage) throws(StoreError)
    -> Finding
  {
    guard let version = page.objects.lazy.compactMap(\.version).first(where: { $0.size > 0 }) else {
      return Finding(
        grade: .ok, what: "read", detail: "not tried: the first name is not a file with bytes")
    }
    let sink = CountingSink()
    let range = 0..<min(version.size, 128 << 10)
    let began = Instant.now
    mounted.store.fetch(
      FetchRequest(version: version, range: range, deadline: began + StoreProbe.patience),
      into: sink)
    guard let result = sink.ending.wait(until: began + .seconds(15), for: { $0 }) else {
      throw StoreError(.timedOut, store: mounted.name, key: version.key, detail: "no answer")
    }
    try result.get()
    return Finding(
      grade: .ok, what: "read",
      detail:
        "\(ByteSize.show(range.upperBound)) of \(version.key) in \((Instant.now - began).milliseconds) ms"
    )
  }

  private final class CountingSink: FetchSink {
    let ending = Monitor<Result<Void, StoreError>?>(nil)
    var isAwaited: Bool { true }
    func beginVerified() {}
    func receive(_ bytes: UnsafeRawBufferPointer) {}
    func finish(_ result: Result<Void, StoreError>) { ending.signal { $0 = result } }
  }
}

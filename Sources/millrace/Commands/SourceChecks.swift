import Glibc
import Logging
import Metrics
import ObjectStore
import Posix

/// What doctor checks of a source: credentials, name, route, a listing, one byte of one file.
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
    if let access = mounted.access {
      show(Finding(grade: .ok, what: "credentials", detail: access))
    }
    var route = mounted.origin.flatMap(endpoint).map(connect)
    if let found = route, found.grade == .ok { show(found) }
    defer { if let found = route, found.grade != .ok { show(found) } }
    do throws(StoreError) {
      let page = try StoreProbe.listing(mounted)
      if route?.grade == .fail {
        // Through a proxy the name need not be known here.
        route?.grade = .info
        route?.advice = "the store responds all the same, through a proxy: nothing to do"
      }
      show(Finding(grade: .ok, what: "listing", detail: "\(mounted.name) responds"))
      show(read(mounted, page))
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
        "check the address, the firewall and whether the server runs (proxies are not tried here)")
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
    guard poll(&wanted, 1, 5000) == 1 else { return "no response within 5 seconds" }
    var code: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size)
    return code == 0 ? nil : systemMessage(code)
  }

  private static func read(_ mounted: StoreFactory.Mounted, _ page: ListPage) -> Finding {
    switch ReadProbe.run(
      mounted, from: page, until: .now + StoreProbe.patience, asksForSizes: true)
    {
    case .read(let version, let milliseconds):
      Finding(
        grade: .ok, what: "read", detail: "1 byte of \(version.key) in \(milliseconds) ms")
    case .noFile:
      Finding(
        grade: .info, what: "read",
        detail: "not tried: no file with bytes within \(ReadProbe.depthMax) levels of directories")
    case .denied(let error), .failed(let error):
      Finding(grade: .fail, what: "read", detail: error.description)
    }
  }
}

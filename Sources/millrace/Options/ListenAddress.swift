import ArgumentParser
import Glibc

/// `--listen`: a numeric address and a port, `127.0.0.1:9464` or `[::1]:9464`.
struct ListenAddress: ExpressibleByArgument, Equatable, CustomStringConvertible {
  var host: String
  var port: UInt16

  init(host: String, port: UInt16) {
    self.host = host
    self.port = port
  }

  init?(argument: String) {
    guard let colon = argument.lastIndex(of: ":"),
      let port = UInt16(argument[argument.index(after: colon)...])
    else { return nil }
    var host = argument[..<colon]
    let isBracketed = host.first == "[" && host.last == "]"
    if isBracketed { host = host.dropFirst().dropLast() }
    var address = in6_addr()
    let family = isBracketed ? AF_INET6 : AF_INET
    guard inet_pton(family, String(host), &address) == 1 else { return nil }
    self.init(host: String(host), port: port)
  }

  var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

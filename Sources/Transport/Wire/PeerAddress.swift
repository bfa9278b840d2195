import Glibc

/// An IPv4 or IPv6 address, and whose it is (RFC 6890).
public struct PeerAddress: Sendable, Equatable, CustomStringConvertible {
  /// 4 or 16 bytes, in network order; none for a unix socket.
  let bytes: [UInt8]

  /// "10.0.0.1", "fe80::1".
  public init?(literal: String) {
    var four = in_addr()
    var sixteen = in6_addr()
    if inet_pton(AF_INET, literal, &four) == 1 {
      bytes = withUnsafeBytes(of: &four) { Array($0) }
    } else if inet_pton(AF_INET6, literal, &sixteen) == 1 {
      bytes = withUnsafeBytes(of: &sixteen) { Array($0) }
    } else {
      return nil
    }
  }

  /// nil: of another family.
  init?(_ address: UnsafePointer<sockaddr>, length: Int) {
    let raw = UnsafeRawPointer(address)
    switch CInt(raw.loadUnaligned(as: UInt16.self)) {
    case AF_INET where length >= MemoryLayout<sockaddr_in>.size:
      var four = raw.loadUnaligned(as: sockaddr_in.self).sin_addr
      bytes = withUnsafeBytes(of: &four) { Array($0) }
    case AF_INET6 where length >= MemoryLayout<sockaddr_in6>.size:
      var sixteen = raw.loadUnaligned(as: sockaddr_in6.self).sin6_addr
      bytes = withUnsafeBytes(of: &sixteen) { Array($0) }
    case AF_UNIX: bytes = []
    default: return nil
    }
  }

  public var nearness: PeerPolicy.Nearness {
    switch bytes.count {
    case 0: .thisMachine
    case 4: Self.nearness(four: bytes)
    default: Self.nearness(sixteen: bytes)
    }
  }

  private static func nearness(four: [UInt8]) -> PeerPolicy.Nearness {
    switch (four[0], four[1]) {
    case (127, _), (0, _): .thisMachine
    // Link-local, multicast, reserved, broadcast.
    case (169, 254), (224..., _): .link
    case (10, _), (172, 16...31), (192, 168), (100, 64...127), (198, 18...19): .privateNetwork
    default: .everywhere
    }
  }

  private static func nearness(sixteen: [UInt8]) -> PeerPolicy.Nearness {
    // ::ffff:0:0/96, 64:ff9b::/96 and ::/96 hold an IPv4 address.
    let head = Array(sixteen[..<12])
    let zeros = [UInt8](repeating: 0, count: 10)
    if head == zeros + [0xFF, 0xFF] || head == [0, 0x64, 0xFF, 0x9B] + zeros.dropLast(2) {
      return nearness(four: Array(sixteen[12...]))
    }
    if head == zeros + [0, 0] {
      let four = Array(sixteen[12...])
      return four[..<3] == [0, 0, 0] ? .thisMachine : nearness(four: four)
    }
    // The metadata service of EC2 over IPv6.
    if sixteen == [0xFD, 0x00, 0x0E, 0xC2] + zeros + [0x02, 0x54] { return .link }
    // fe80::/10, ff00::/8; fc00::/7, fec0::/10.
    if sixteen[0] == 0xFE && sixteen[1] & 0xC0 == 0x80 || sixteen[0] == 0xFF { return .link }
    if sixteen[0] & 0xFE == 0xFC || sixteen[0] == 0xFE && sixteen[1] & 0xC0 == 0xC0 {
      return .privateNetwork
    }
    return .everywhere
  }

  public var description: String {
    guard !bytes.isEmpty else { return "a unix socket" }
    var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    _ = bytes.withUnsafeBytes {
      inet_ntop(
        bytes.count == 4 ? AF_INET : AF_INET6, $0.baseAddress!, &text, socklen_t(text.count))
    }
    return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }
}

import Glibc

/// A request's head.
struct Request {
  var method: String
  /// Decoded path without its first "/".
  var path: [UInt8]
  var query: [(name: String, value: String)]
  /// Names in lower case.
  var headers: [String: String]

  subscript(name: String) -> String? { query.first { $0.name == name }?.value }

  init?(head: String) {
    let lines = head.split(separator: "\r\n", omittingEmptySubsequences: false)
    let first = lines[0].split(separator: " ")
    guard first.count == 3 else { return nil }
    method = String(first[0])
    let target = first[1].split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    path = percentDecoded(target[0].drop { $0 == "/" })
    query = (target.count > 1 ? target[1].split(separator: "&") : []).map { pair in
      let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      func text(_ part: Substring) -> String {
        String(decoding: percentDecoded(part), as: UTF8.self)
      }
      return (text(parts[0]), parts.count > 1 ? text(parts[1]) : "")
    }
    headers = [:]
    for line in lines.dropFirst() {
      guard let colon = line.firstIndex(of: ":") else { continue }
      let value = line[line.index(after: colon)...].drop { $0 == " " }
      headers[line[..<colon].lowercased()] = String(value)
    }
  }
}

func percentDecoded(_ text: some StringProtocol) -> [UInt8] {
  let bytes = Array(text.utf8)
  var decoded: [UInt8] = []
  var index = 0
  while index < bytes.count {
    if bytes[index] == 0x25, index + 2 < bytes.count,
      let value = UInt8(
        String(decoding: bytes[(index + 1)...(index + 2)], as: UTF8.self), radix: 16)
    {
      decoded.append(value)
      index += 3
    } else {
      decoded.append(bytes[index])
      index += 1
    }
  }
  return decoded
}

/// One connection's bytes, in and out.
final class Conversation {
  let socket: CInt
  /// Of its listings, one after another.
  let page = PageBytes()
  private var input: [UInt8] = []

  init(_ socket: CInt) { self.socket = socket }

  /// Nil: the client has gone, or does not speak HTTP.
  func nextRequest() -> Request? {
    while true {
      if let end = endOfHead() {
        let request = Request(head: String(decoding: input[..<(end - 4)], as: UTF8.self))
        input.removeFirst(end)
        return request
      }
      guard input.count < 65_536, fill() else { return nil }
    }
  }

  /// Returns when the client has gone, or the server is stopped.
  func waitForHangUp() {
    var byte: UInt8 = 0
    while recv(socket, &byte, 1, 0) > 0 {}
  }

  /// The connection ends in a reset, and what it still holds is lost.
  func resetAtClose() {
    var option = linger(l_onoff: 1, l_linger: 0)
    setsockopt(socket, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
  }

  /// Up to `count` bytes of a body; none at its end.
  func take(_ count: Int) -> ArraySlice<UInt8> {
    if input.isEmpty, !fill() { return [] }
    let taken = input.prefix(count)
    input.removeFirst(taken.count)
    return taken
  }

  private func fill() -> Bool {
    let old = input.count
    let room = 65_536
    input.append(contentsOf: repeatElement(0, count: room))
    let count = input.withUnsafeMutableBytes { recv(socket, $0.baseAddress! + old, room, 0) }
    input.removeLast(room - Swift.max(0, count))
    return count > 0
  }

  private func endOfHead() -> Int? {
    input.withUnsafeBytes { findEndOfHead(in: $0) }
  }

  func send(_ bytes: UnsafeRawBufferPointer, more: Bool = false) -> Bool {
    var rest = bytes
    while !rest.isEmpty {
      let flags = CInt(MSG_NOSIGNAL) | (more ? CInt(MSG_MORE) : 0)
      let count = Glibc.send(socket, rest.baseAddress, rest.count, flags)
      guard count > 0 else { return false }
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
    return true
  }

  func send(_ text: String, more: Bool = false) -> Bool {
    var text = text
    return text.withUTF8 { send(UnsafeRawBufferPointer($0), more: more) }
  }

  /// From a file, without a copy.
  func sendFile(_ file: CInt, at offset: Int, count: Int) -> Bool {
    var position = off_t(offset)
    let end = position + off_t(count)
    while position < end {
      guard sendfile(socket, file, &position, Int(end - position)) > 0 else { return false }
    }
    return true
  }
}

/// Bytes up to and with the empty line; nil where there is none.
func findEndOfHead(in bytes: UnsafeRawBufferPointer) -> Int? {
  var index = 3
  while index < bytes.count {
    if bytes[index] == 0x0a, bytes[index - 1] == 0x0d, bytes[index - 2] == 0x0a,
      bytes[index - 3] == 0x0d
    {
      return index + 1
    }
    index += 1
  }
  return nil
}

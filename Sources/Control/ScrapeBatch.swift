import Glibc
import Posix
import SystemPackage

/// Asks the daemons of many mounts for their metrics at the same time, on one thread: none of them, whichever user owns it,
/// makes the others wait.
struct ScrapeBatch {
  /// A daemon's text has about 30 KiB.
  private static let textLimit = 256 << 10
  private static let headLimit = 16 << 10

  private let request: [UInt8]

  /// `processes`: with the metrics that name processes.
  init(processes: Bool) {
    request = Array(
      "GET /v1/metrics\(processes ? "?processes=1" : "") HTTP/1.1\r\nHost: millrace\r\nConnection: close\r\n\r\n"
        .utf8)
  }

  /// The text of each daemon; nil where it does not respond before `deadline`, or with more than 256 KiB.
  func ask(_ sockets: [ControlSocket?], until deadline: Instant) -> [[UInt8]?] {
    var texts = [[UInt8]?](repeating: nil, count: sockets.count)
    var polled: [pollfd] = []
    var places: [Int] = []
    var answers: [ControlAnswer] = []
    for (index, socket) in sockets.enumerated() {
      guard let socket, let descriptor = begin(socket) else { continue }
      polled.append(pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0))
      places.append(index)
      answers.append(ControlAnswer(headLimit: Self.headLimit, bodyLimit: Self.textLimit))
    }
    // A descriptor of -1 is passed over by poll(2).
    defer { for item in polled where item.fd >= 0 { close(item.fd) } }
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    var left = polled.count
    while left > 0 {
      let rest = (deadline - .now).milliseconds + 1
      guard rest > 0 else { return texts }
      let count = poll(&polled, nfds_t(polled.count), CInt(clamping: rest))
      if count < 0, errno != EINTR { return texts }
      if count <= 0 { continue }
      for place in polled.indices where polled[place].fd >= 0 && polled[place].revents != 0 {
        guard let text = receive(polled[place].fd, &answers[place], &buffer) else { continue }
        texts[places[place]] = text.isEmpty ? nil : text
        close(polled[place].fd)
        polled[place].fd = -1
        left -= 1
      }
    }
    return texts
  }

  /// A connection on which the request is sent; nil: there is no daemon, it is not the mount's, or it is too busy.
  private func begin(_ place: ControlSocket) -> CInt? {
    let raw = socket(
      AF_UNIX,
      CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
        | CInt(SOCK_NONBLOCK.rawValue), 0)
    guard raw >= 0 else { return nil }
    let isAsked =
      (try? ControlClient.join(raw, place)) != nil
      && send(raw, request, request.count, CInt(MSG_NOSIGNAL)) == request.count
    if isAsked { return raw }
    close(raw)
    return nil
  }

  /// The text once it is complete, empty where the response is none; nil: more is to come.
  private func receive(
    _ descriptor: CInt, _ answer: inout ControlAnswer, _ buffer: inout [UInt8]
  ) -> [UInt8]? {
    let count = recv(descriptor, &buffer, buffer.count, 0)
    if count < 0 { return [EAGAIN, EINTR].contains(errno) ? nil : [] }
    guard answer.append(buffer[..<count]) else { return [] }
    guard count == 0 || answer.isWhole else { return nil }
    guard !answer.isCutOff, answer.head?.hasPrefix("HTTP/1.1 200") == true else { return [] }
    return answer.body
  }
}

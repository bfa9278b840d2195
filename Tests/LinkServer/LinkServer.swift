/// A store behind a link, for benchmarks and tests: what S3 answers to readers (and PUT and DELETE, to
/// fill it), at the pace of a connection to S3 or to another region. Any signature is taken.
///
/// A thread a connection, blocking: the kernel's scheduler is the simplest thing that paces a hundred of
/// them, and files go out by sendfile. `GET /-/stats` says what was asked, `POST /-/reset` forgets it.
import Glibc
import Posix

public final class LinkServer: Sendable {
  public struct Failure: Error, CustomStringConvertible {
    public var description: String
  }

  public let port: UInt16
  let objects: Objects
  let link: Link
  let tally = Tally()
  /// Objects have a CRC32C, for those who ask for it.
  let keepsChecksums: Bool
  /// If not, a listing is one of the first generation, whatever was asked for.
  let knowsListV2: Bool
  private let listeners: [CInt]
  private let seeds: Lock<SeededGenerator>
  private let open = Lock<Set<CInt>>([])
  private let plan = Lock<FaultPlan?>(nil)

  /// Listens on `port` (0: any that is free) of each of `addresses`. `folder`: its sub-folders are buckets.
  public init(
    folder: String, link: Link, addresses: [String] = ["127.0.0.1"], port: UInt16 = 0,
    seed: UInt64 = 1, keepsChecksums: Bool = false, knowsListV2: Bool = true
  ) throws {
    self.knowsListV2 = knowsListV2
    self.keepsChecksums = keepsChecksums
    // A client that has gone is an error of sendfile, not the end of the process.
    _ = signal(SIGPIPE, SIG_IGN)
    objects = Objects(folder: folder)
    self.link = link
    seeds = Lock(SeededGenerator(seed: seed))
    var listeners: [CInt] = []
    var port = port
    for address in addresses { listeners.append(try Self.listen(on: address, &port)) }
    self.listeners = listeners
    self.port = port
    for (listener, address) in zip(listeners, addresses) {
      Thread(named: "accept") { [self] in accept(listener, address) }.detach()
    }
  }

  /// An object of `size` bytes that takes no room: see `SyntheticBytes`.
  public func addSynthetic(bucket: String, key: String, size: Int) {
    objects.addSynthetic(bucket, Array(key.utf8), size: size)
  }

  /// `folders` folders of `files` objects each that take no room (0: the objects lie flat), with names of
  /// `nameLength` bytes: see `SyntheticTree`. The bucket holds trees alone and is not written to.
  public func addSyntheticTree(
    bucket: String, prefix: String, folders: Int, files: Int, nameLength: Int = 40
  ) throws {
    let tree = try SyntheticTree(
      prefix: Array(prefix.utf8), folders: folders, files: files, nameLength: nameLength)
    try objects.addTree(bucket, tree)
  }

  /// What goes wrong from now on; nil: nothing.
  public func setFaults(_ faults: FaultPlan?) { plan.withLock { $0 = faults } }

  public var statistics: String { tally.json }

  /// Bytes of objects that went out.
  public var bytesSent: Int { tally.bytesSent }
  public var gets: Int { tally.gets }
  public func reset() { tally.reset() }

  /// Takes no connection from now on and hangs up on those there are.
  public func stop() {
    for listener in listeners { shutdown(listener, CInt(SHUT_RDWR)) }
    open.withLock { for socket in $0 { shutdown(socket, CInt(SHUT_RDWR)) } }
  }

  private static func listen(on text: String, _ port: inout UInt16) throws -> CInt {
    let listener = socket(AF_INET, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    var one: CInt = 1
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, 4)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    guard inet_pton(AF_INET, text, &address.sin_addr) == 1 else {
      throw Failure(description: "\(text) is no IPv4 address")
    }
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        bind(listener, address, size) == 0 && Glibc.listen(listener, 1024) == 0
          && getsockname(listener, address, &size) == 0
      }
    }
    guard isBound else {
      throw Failure(description: "cannot listen on \(text):\(port): errno \(errno)")
    }
    port = UInt16(bigEndian: address.sin_port)
    return listener
  }

  private func accept(_ listener: CInt, _ address: String) {
    while true {
      let socket = Glibc.accept(listener, nil, nil)
      if socket < 0, errno == EINTR || errno == ECONNABORTED { continue }
      guard socket >= 0 else {
        close(listener)
        return
      }
      var one: CInt = 1
      setsockopt(socket, CInt(IPPROTO_TCP), TCP_NODELAY, &one, 4)
      open.withLock { _ = $0.insert(socket) }
      Thread(named: "connection") { [self] in
        converse(Conversation(socket), address)
        open.withLock { _ = $0.remove(socket) }
        close(socket)
      }.detach()
    }
  }

  private func converse(_ conversation: Conversation, _ address: String) {
    // Who only asks for the statistics is none of them.
    var isCounted = false
    defer { if isCounted { tally.disconnected() } }
    var random = SeededGenerator(seed: seeds.withLock { $0.next() })
    while let request = conversation.nextRequest() {
      if request.path.starts(with: Array("-/".utf8)) {
        guard answerAboutItself(request, conversation) else { return }
        continue
      }
      if !isCounted { tally.connected(to: address) }
      isCounted = true
      let answerer = Answerer(server: self, request: request, conversation: conversation)
      tally.began { answerer.count(in: &$0) }
      let wait = link.wait(using: &random)
      let fault = plan.withLock({ $0 })?.fault(
        request, String(decoding: answerer.key, as: UTF8.self))
      let isAnswered = answer(answerer, fault, wait)
      tally.ended()
      guard isAnswered else { return }
    }
  }

  private func answer(_ answerer: Answerer, _ fault: Fault?, _ wait: Double) -> Bool {
    var answerer = answerer
    var wait = wait
    switch fault {
    case nil: break
    case .late(let seconds): wait += seconds
    case .slow(let rate): answerer.link = Link(firstByte: 0, rate: rate)
    case .some(let fault):
      let faulty = FaultyAnswer(
        server: self, request: answerer.request, conversation: answerer.conversation,
        bucket: answerer.bucket, key: answerer.key)
      if wait > 0 { sleep(until: clockSeconds() + wait) }
      if let isUsable = faulty.answer(fault) { return isUsable }
    }
    return answerer.answer(notBefore: wait > 0 ? clockSeconds() + wait : 0)
  }

  private func answerAboutItself(_ request: Request, _ conversation: Conversation) -> Bool {
    if request.path == Array("-/reset".utf8) { tally.reset() }
    let body = tally.json
    return conversation.send(
      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n"
        + body)
  }
}

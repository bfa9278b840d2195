import Glibc

/// A full machine, for one program: what is started with `environment` is refused threads and descriptors when
/// the test says so (Tests/Tools/scarce.c, preloaded).
public final class Scarcity: @unchecked Sendable {
  /// What can be refused.
  public enum Kind: Int, CaseIterable, Sendable {
    case threads, epolls, eventDescriptors, sockets, files
  }

  public let environment: [String: String]
  private let scratch: TemporaryFolder
  /// armed, always and seen, of each kind: atomic on the other side, and here written by one thread.
  private let numbers: UnsafeMutablePointer<CInt>
  private static let kinds = Kind.allCases.count
  private static let bytes = 4096

  /// Throws where there is no C compiler.
  public init() throws {
    scratch = try TemporaryFolder("scarcity")
    let library = scratch.path("scarce.so")
    try CommandResult.check(
      ["cc", "-shared", "-fPIC", "-O1", "-o", library, Checkout.tools + "/scarce.c", "-ldl"])
    let path = try scratch.file("numbers", [UInt8](repeating: 0, count: Self.bytes))
    let file = open(path, O_RDWR | O_CLOEXEC)
    defer { close(file) }
    let map = mmap(nil, Self.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)
    guard let map, map != MAP_FAILED else {
      throw SupportError("cannot map \(path)")
    }
    numbers = map.assumingMemoryBound(to: CInt.self)
    environment = ["LD_PRELOAD": library, "SCARCE_FILE": path]
    relent()
  }

  deinit { munmap(numbers, Self.bytes) }

  /// After `count` more calls that succeed, one fails.
  public func refuseOne(_ kind: Kind, after count: Int) { numbers[kind.rawValue] = CInt(count) }

  /// Whether the call of `refuseOne` has come and failed.
  public func hasRefused(_ kind: Kind) -> Bool { numbers[kind.rawValue] < 0 }

  public func refuseAll(_ kinds: [Kind]) {
    for kind in kinds { numbers[Self.kinds + kind.rawValue] = 1 }
  }

  /// Calls of a kind so far.
  public func seen(_ kind: Kind) -> Int { Int(numbers[2 * Self.kinds + kind.rawValue]) }

  /// Nothing is refused any more.
  public func relent() {
    for kind in 0..<Self.kinds {
      numbers[kind] = -1
      numbers[Self.kinds + kind] = 0
    }
  }
}

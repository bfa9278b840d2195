/// The hash FNV-1a of 64 bits, which is the same on each machine and at each start; not for what an attacker chooses.
/// http://www.isthe.com/chongo/tech/comp/fnv/
public struct FNV1a: Sendable {
  @usableFromInline var state: UInt64 = 0xcbf2_9ce4_8422_2325

  @inlinable
  public var value: UInt64 { state }

  @inlinable
  public init() {}

  @inlinable
  public init(_ bytes: some Sequence<UInt8>) { for byte in bytes { add(byte) } }

  @inlinable @inline(__always)
  public mutating func add(_ byte: UInt8) {
    state = (state ^ UInt64(byte)) &* 0x0000_0100_0000_01b3
  }
}

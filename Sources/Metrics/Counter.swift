/// Counters that every room adds to and `millrace stats` reads. Adding is one relaxed atomic.
public import Synchronization

/// A number that only grows, until it is reset; past 2^64 it begins again.
public final class Counter: Sendable {
  @usableFromInline let value = Atomic<UInt64>(0)

  public init() {}

  @inlinable public func add(_ amount: UInt64 = 1) { value.wrappingAdd(amount, ordering: .relaxed) }
  @inlinable public func add(_ amount: Int) { add(UInt64(amount)) }
  @inlinable public var count: UInt64 { value.load(ordering: .relaxed) }

  func reset() { value.store(0, ordering: .relaxed) }
}

/// A number that goes up and down, and remembers its peak.
public final class Gauge: Sendable {
  @usableFromInline let value = Atomic<Int64>(0)
  @usableFromInline let highest = Atomic<Int64>(0)

  public init() {}

  @inlinable public func add(_ amount: Int64) {
    let now = value.add(amount, ordering: .relaxed).newValue
    if amount > 0 { highest.max(now, ordering: .relaxed) }
  }
  @inlinable public func set(_ amount: Int64) {
    value.store(amount, ordering: .relaxed)
    highest.max(amount, ordering: .relaxed)
  }
  @inlinable public var current: Int64 { value.load(ordering: .relaxed) }
  @inlinable public var peak: Int64 { highest.load(ordering: .relaxed) }
}

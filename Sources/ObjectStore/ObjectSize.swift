/// What the size of an object may be: the gate for every size that a store, a list of objects or a file on disk
/// states (docs/decisions/0010-trust-in-numbers.md).
///
/// What passes is at most `limit`, so that offsets, counts of pieces and block counts made of it fit every
/// integer they are put in. Sums over many objects do not: those saturate (`addingSaturated`).
public enum ObjectSize {
  /// Bytes: 8 PiB, 170 times S3's largest object (48.8 TiB). The largest size that JSON, a `Double` and every
  /// file system's arithmetic take without loss.
  public static let limit: UInt64 = 1 << 53

  /// The number of bytes that a text states: decimal digits and nothing else. A number that no integer holds is
  /// `UInt64.max`, which the gate then refuses. Nil where the text is no number of bytes: empty, negative, a
  /// fraction.
  public static func parse(_ text: some StringProtocol) -> UInt64? { parse(text.utf8) }

  /// The same of bytes.
  public static func parse(_ digits: some Collection<UInt8>) -> UInt64? {
    guard !digits.isEmpty else { return nil }
    var value: UInt64 = 0
    for digit in digits {
      guard digit &- 48 < 10 else { return nil }
      let (product, isTooLarge) = value.multipliedReportingOverflow(by: 10)
      let (sum, isOver) = product.addingReportingOverflow(UInt64(digit &- 48))
      value = isTooLarge || isOver ? .max : sum
    }
    return value
  }

  /// Whether an object of so many bytes can be read through a mount.
  public static func isReadable(_ size: UInt64) -> Bool { size <= limit }
}

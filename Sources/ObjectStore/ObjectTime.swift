/// The gate for times that a store, a list of objects or a file on disk states.
public enum ObjectTime {
  /// Seconds since 1970: the years 1 to 9999, which is what calendars, RFC 3339 and programs take.
  public static let range: ClosedRange<Int64> = -62_135_596_800...253_402_300_799

  /// Nil where no time is given, and where the given one is not a date.
  public static func checked(_ seconds: Int64?) -> Int64? {
    guard let seconds, range.contains(seconds) else { return nil }
    return seconds
  }
}

/// Sums of numbers that others stated. Arithmetic on them stays at the end of its range instead of trapping:
/// a total that is too large to be said is as good as the largest one.
extension FixedWidthInteger {
  /// `self + other`, at the end of the range where that does not fit.
  public func addingSaturated(_ other: Self) -> Self {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? (other > 0 ? .max : .min) : sum
  }

  /// `self - other`, at the end of the range where that does not fit.
  public func subtractingSaturated(_ other: Self) -> Self {
    let (difference, overflow) = subtractingReportingOverflow(other)
    return overflow ? (other > 0 ? .min : .max) : difference
  }

  /// `self * other`, at the end of the range where that does not fit.
  public func multipliedSaturated(by other: Self) -> Self {
    let (product, overflow) = multipliedReportingOverflow(by: other)
    return overflow ? ((self < 0) == (other < 0) ? .max : .min) : product
  }

  public mutating func addSaturated(_ other: Self) { self = addingSaturated(other) }
  public mutating func subtractSaturated(_ other: Self) { self = subtractingSaturated(other) }

  /// The integer nearest to `value`, within the range; 0 for what is no number.
  public init(saturating value: Double) {
    if value.isNaN {
      self = 0
    } else {
      self = Self(exactly: value.rounded(.towardZero)) ?? (value > 0 ? .max : .min)
    }
  }
}

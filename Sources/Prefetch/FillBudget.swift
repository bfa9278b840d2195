/// What automatic fill may cost. Pure.
struct FillBudget {
  /// Bytes filled for each byte that readers were given: enough that of a data set that is walked at random
  /// the rest is on its way after a twentieth of it, and that who looks at ten files of a bucket pays
  /// for ten files.
  static let usualMultiple = 16.0

  /// nil: no limit but the cache's.
  var multiple: Double?

  /// Whether `size` bytes more may be filled.
  func allows(_ size: UInt64, filled: UInt64, asked: UInt64) -> Bool {
    guard let multiple else { return true }
    return Double(filled) + Double(size) <= multiple * Double(asked)
  }

  /// What counts as asked of one data set. `opened`: sizes of the files opened there: of some perhaps only the
  /// head was read. `read`: bytes that the mount's readers were given meanwhile, of whatever files.
  static func asked(opened: UInt64, read: UInt64) -> UInt64 { min(opened, read) }
}

/// Dates as servers and manifests write them, in seconds since 1970.
enum HTTPTime {
  /// RFC 1123: "Wed, 21 Oct 2015 07:28:00 GMT"; the form of Last-Modified and of nginx's index.
  static func parseRFC1123(_ text: String) -> Int64? {
    let parts = text.split(separator: " ")
    guard parts.count == 6, parts[5] == "GMT" || parts[5] == "UTC",
      let day = number(parts[1]), let month = months.firstIndex(of: String(parts[2])),
      let year = number(parts[3]), let clock = clock(parts[4])
    else { return nil }
    return seconds(year: year, month: Int64(month + 1), day: day).map { $0 + clock }
  }

  /// Seconds ("1445412480", a fraction is dropped) or ISO 8601 ("2015-10-21T07:28:00Z", with a
  /// fraction or an offset; without one it is UTC; a date alone is its midnight).
  static func parseSecondsOrISO(_ text: String) -> Int64? {
    let whole = text.prefix { $0 != "." }
    if let seconds = Int64(whole), Double(text) != nil { return seconds }
    let parts = text.split(maxSplits: 1, omittingEmptySubsequences: false) { "Tt ".contains($0) }
    let date = parts[0].split(separator: "-", omittingEmptySubsequences: false)
    guard date.count == 3, let year = number(date[0]), let month = number(date[1]),
      let day = number(date[2]), let midnight = seconds(year: year, month: month, day: day)
    else { return nil }
    guard parts.count == 2 else { return midnight }
    var time = parts[1]
    var offset: Int64 = 0
    if time.last == "Z" || time.last == "z" {
      time = time.dropLast()
    } else if let sign = time.lastIndex(where: { $0 == "+" || $0 == "-" }) {
      let zone = time[time.index(after: sign)...].filter { $0 != ":" }
      guard zone.count == 4, let hours = number(zone.prefix(2)),
        let minutes = number(zone.suffix(2))
      else { return nil }
      offset = (hours * 3600 + minutes * 60) * (time[sign] == "+" ? 1 : -1)
      time = time[..<sign]
    }
    return clock(time.prefix { $0 != "." }).map { midnight + $0 - offset }
  }

  /// "21-Oct-2015" and "07:28", as nginx's HTML index has them.
  static func parseIndexMinute(_ date: String, _ time: String) -> Int64? {
    let parts = date.split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count == 3, let day = number(parts[0]),
      let month = months.firstIndex(of: String(parts[1])), let year = number(parts[2]),
      time.utf8.count == 5, let clock = clock(Substring(time))
    else { return nil }
    return seconds(year: year, month: Int64(month + 1), day: day).map { $0 + clock }
  }

  /// The whole minute that a time lies in.
  static func minute(of time: Int64) -> Int64 { time - ((time % 60) + 60) % 60 }

  /// Whether a Last-Modified is the time that a version has. `inMinutes`: a version of a whole minute may have come from
  /// a listing that knows no seconds.
  static func isSame(_ modified: Int64, asListed listed: Int64, inMinutes: Bool) -> Bool {
    modified == listed || inMinutes && minute(of: modified) == listed
  }

  private static let months = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
  ]

  private static func number(_ text: some StringProtocol) -> Int64? {
    guard (1...4).contains(text.utf8.count), text.utf8.allSatisfy({ (48...57).contains($0) }) else {
      return nil
    }
    return Int64(text)
  }

  private static func clock(_ text: Substring) -> Int64? {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard (2...3).contains(parts.count), let hour = number(parts[0]), hour < 24,
      let minute = number(parts[1]), minute < 60,
      let second = parts.count == 3 ? number(parts[2]) : 0, second < 61
    else { return nil }
    return hour * 3600 + minute * 60 + second
  }

  /// Days of the proleptic Gregorian calendar (Howard Hinnant's days_from_civil).
  private static func seconds(year: Int64, month: Int64, day: Int64) -> Int64? {
    guard (1...12).contains(month), (1...31).contains(day) else { return nil }
    let shifted = month <= 2 ? year - 1 : year
    let era = (shifted >= 0 ? shifted : shifted - 399) / 400
    let yearOfEra = shifted - era * 400
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
    return (era * 146_097 + dayOfEra - 719_468) * 86_400
  }
}

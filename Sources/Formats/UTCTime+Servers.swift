/// Times of web servers and of lists that people and their scripts write: fields of any width up to four digits.
extension UTCTime {
  /// The date of HTTP headers (RFC 9110 5.6.7, IMF-fixdate) and of nginx's JSON index: "Wed, 21 Oct 2015 07:28:00 GMT".
  /// The name of the day is not checked.
  public static func http(_ text: String) -> Int64? {
    let parts = text.split(separator: " ")
    guard parts.count == 6, parts[5] == "GMT" || parts[5] == "UTC", let day = number(parts[1]),
      let month = month(parts[2]), let year = number(parts[3]), let clock = clock(parts[4])
    else { return nil }
    return midnight(year: year, month: month, day: day).map { $0 + clock }
  }

  /// As manifests, Caddy and hubs have it: seconds ("1445412480", a fraction is dropped) or ISO 8601
  /// ("2015-10-21T07:28:00Z", with a fraction or an offset; without one it is UTC; a date alone is its midnight). More
  /// lenient than `iso8601`, as spreadsheets and scripts leave out zeros and seconds.
  public static func listed(_ text: String) -> Int64? {
    let whole = text.prefix { $0 != "." }
    if let seconds = Int64(whole), Double(text) != nil { return seconds }
    let parts = text.split(maxSplits: 1, omittingEmptySubsequences: false) { "Tt ".contains($0) }
    guard let midnight = date(parts[0]) else { return nil }
    guard parts.count == 2 else { return midnight }
    var time = parts[1]
    var offset = 0
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
    return clock(time.prefix { $0 != "." }).map { midnight + $0 - Int64(offset) }
  }

  /// "21-Oct-2015" and "07:28", as nginx's HTML index has them.
  public static func indexMinute(_ date: String, _ time: String) -> Int64? {
    let parts = date.split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count == 3, let day = number(parts[0]), let month = month(parts[1]),
      let year = number(parts[2]), time.utf8.count == 5, let clock = clock(Substring(time))
    else { return nil }
    return midnight(year: year, month: month, day: day).map { $0 + clock }
  }

  private static func month(_ name: Substring) -> Int? {
    let names = [
      "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]
    return names.firstIndex { $0 == name }.map { $0 + 1 }
  }

  private static func date(_ text: Substring) -> Int64? {
    let parts = text.split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count == 3, let year = number(parts[0]), let month = number(parts[1]),
      let day = number(parts[2])
    else { return nil }
    return midnight(year: year, month: month, day: day)
  }

  private static func clock(_ text: Substring) -> Int64? {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard (2...3).contains(parts.count), let hour = number(parts[0]), hour < 24,
      let minute = number(parts[1]), minute < 60,
      let second = parts.count == 3 ? number(parts[2]) : 0, second < 61
    else { return nil }
    return Int64(hour * 3600 + minute * 60 + second)
  }

  private static func number(_ text: some StringProtocol) -> Int? {
    guard (1...4).contains(text.utf8.count), text.utf8.allSatisfy({ (48...57).contains($0) }) else {
      return nil
    }
    return Int(text)
  }
}

import Formats
import Glibc
import Posix
import TestSupport
import Testing

@Suite struct UTCTimeTests {
  @Test func readsTimes() {
    #expect(UTCTime.iso8601("1970-01-01T00:00:00Z") == 0)
    #expect(UTCTime.iso8601("2026-11-23T12:15:00.123456789+01:00") == 1_795_432_500)
    #expect(UTCTime.iso8601("2026-11-23T11:15:00") == 1_795_432_500)
    #expect(UTCTime.http("Mon, 23 Nov 2026 11:15:00 GMT") == 1_795_432_500)
    for bad in [
      "", "x", "2026-13-01T00:00:00Z", "2026-11-23", "2026-11-23T11:15:00ZZ", "2026-1-1T",
    ] {
      #expect(UTCTime.iso8601(bad) == nil)
      #expect(UTCTime.http(bad) == nil)
    }
  }

  @Test func datesOfServersAndManifests() {
    #expect(UTCTime.http("Wed, 21 Oct 2015 07:28:00 GMT") == 1_445_412_480)
    #expect(UTCTime.http("Thu, 01 Jan 1970 00:00:00 GMT") == 0)
    #expect(UTCTime.http("Sat, 29 Feb 2020 23:59:59 GMT") == 1_583_020_799)
    #expect(UTCTime.http("21 Oct 2015 07:28:00") == nil)
    #expect(UTCTime.listed("1445412480") == 1_445_412_480)
    #expect(UTCTime.listed("1445412480.75") == 1_445_412_480)
    #expect(UTCTime.listed("2015-10-21T07:28:00Z") == 1_445_412_480)
    #expect(UTCTime.listed("2015-10-21 09:28:00.123+02:00") == 1_445_412_480)
    #expect(UTCTime.listed("2015-10-21T02:28:00-0500") == 1_445_412_480)
    #expect(UTCTime.listed("2015-10-21") == 1_445_385_600)
    for text in ["", "-", "2015-13-01", "2015-10-21T25:00:00Z", "yesterday", "2015-10-21T", "1e"] {
      #expect(UTCTime.listed(text) == nil, "\(text)")
    }
  }

  @Test func timesWithAZoneAreRead() {
    let cases: [(String, Int64?)] = [
      ("1970-01-02T00:00:00Z", 86_400), ("1970-01-01T01:00:00+01:00", 0),
      ("1970-01-01T00:00:10.123456Z", 10), ("1970-01-01T00:00:00-0130", 5400),
      ("2026-11-23T11:15:00UTC", nil), ("1970-01-01 00:00:00Z", 0), ("", nil),
      ("1970-13-01T00:00:00Z", nil), ("yesterday at noon, please", nil),
    ]
    for (text, expected) in cases { #expect(UTCTime.zoned(text) == expected, "\(text)") }
    #expect(UTCTime.zoned(UTCTime.stamp(1_795_432_500)) == 1_795_432_500)
  }

  /// The calendar against glibc's, over some 8,000 years.
  @Test func timesAreThoseOfTheCalendar() {
    var random = SeededGenerator(seed: 4)
    for _ in 0..<5_000 {
      let time = Int64.random(in: -62_135_596_800...253_402_300_799, using: &random)
      var seconds = time_t(time)
      var parts = tm()
      gmtime_r(&seconds, &parts)
      func two(_ value: CInt) -> String { (value < 10 ? "0" : "") + String(value) }
      let year = String(parts.tm_year + 1900)
      let expected =
        String(repeating: "0", count: 4 - year.count) + year
        + "-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))T\(two(parts.tm_hour)):"
        + "\(two(parts.tm_min)):\(two(parts.tm_sec))Z"
      #expect(UTCTime.stamp(time) == expected)
      #expect(UTCTime.iso8601(expected) == time)
    }
    #expect(UTCTime.text(1_795_432_500) == "2026-11-23 11:15:00 UTC")
    #expect(UTCTime.compactStamp(1_795_432_500) == "20261123T111500Z")
  }

  @Test func hostileDatesDoNotTrap() {
    var random = SeededGenerator(seed: 2)
    for _ in 0..<5_000 {
      let text = random.text(of: "0123456789-:+.TZ ,GMTOctWed", upTo: 32)
      _ = UTCTime.http(text)
      _ = UTCTime.listed(text)
    }
  }
}

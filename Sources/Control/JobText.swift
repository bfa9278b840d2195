import Formats
import FoundationEssentials
import Prefetch

/// A job as a request says it: options in the query; paths in the query, or in the body, which is JSON or a
/// path a line.
enum JobText {
  struct Failure: Error, CustomStringConvertible {
    var description: String
  }

  private struct Body: Decodable {
    var paths: [String]?
    var jobs: Int?
    var verify: Bool?
    var order: Bool?
  }

  static func request(
    _ action: JobRequest.Action, _ query: QueryText, _ body: [UInt8], type: String?
  ) throws(Failure) -> JobRequest {
    var request = JobRequest(action, paths: query.all("path"))
    var jobs = query["jobs"].map { Int($0) ?? 0 }
    request.verifies = query.flag("verify")
    request.isOrder = query.flag("order")
    if type?.lowercased().hasPrefix("application/json") == true {
      let json: Body
      do { json = try JSONDecoder().decode(Body.self, from: Data(body)) } catch {
        throw Failure(description: "request body is not a valid job: \(error)")
      }
      request.paths += (json.paths ?? []).map { Array($0.utf8) }
      jobs = json.jobs ?? jobs
      request.verifies = json.verify ?? request.verifies
      request.isOrder = json.order ?? request.isOrder
    } else {
      request.paths += body.split(separator: UInt8(ascii: "\n")).map { Array($0) }
    }
    if let jobs {
      guard (1...JobRequest.mostWidth).contains(jobs) else {
        throw Failure(description: "jobs: expected 1 to \(JobRequest.mostWidth)")
      }
      request.width = jobs
    }
    request.paths = request.paths.map(trimmed)
    if request.paths.isEmpty {
      throw Failure(description: "no path: give paths with ?path=, or one a line in the body")
    }
    return request
  }

  /// Without slashes at its ends; "." is the mount itself.
  static func trimmed(_ path: [UInt8]) -> [UInt8] {
    let slash = UInt8(ascii: "/")
    var path = path[...]
    if path.last == UInt8(ascii: "\r") { path.removeLast() }
    while path.first == slash { path.removeFirst() }
    while path.last == slash { path.removeLast() }
    return path.elementsEqual(".".utf8) ? [] : Array(path)
  }
}

/// The query of a request: names and values, percent-encoded, whose bytes need be no text.
struct QueryText {
  private var items: [(name: [UInt8], value: [UInt8])] = []

  init(_ text: String) {
    for part in Array(text.utf8).split(separator: UInt8(ascii: "&")) {
      let sides = part.split(
        separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
      let value = sides.count == 2 ? PercentEncoding.decodeForm(sides[1]) : []
      items.append((PercentEncoding.decodeForm(sides[0]), value))
    }
  }

  func all(_ name: String) -> [[UInt8]] {
    items.filter { $0.name.elementsEqual(name.utf8) }.map(\.value)
  }

  subscript(name: String) -> String? { all(name).first.map { String(decoding: $0, as: UTF8.self) } }

  func flag(_ name: String) -> Bool {
    self[name].map { !["0", "false", "no"].contains($0) } ?? false
  }

  var path: [UInt8] { JobText.trimmed(all("path").first ?? []) }

  /// A part of a path, where a plus is a plus.
  static func decoded(pathPart text: String) -> String {
    String(decoding: PercentEncoding.decodeForm(text.utf8, plusIsSpace: false), as: UTF8.self)
  }

  /// Bytes as a value of a query.
  static func encode(_ bytes: [UInt8]) -> String {
    PercentEncoding.encode(bytes, keepsSlash: true)
  }
}

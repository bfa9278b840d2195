import Formats
import Glibc
import ObjectStore

/// Keys in the JSON that instance metadata, containers and programs give.
enum ServiceKeys {
  struct Names {
    var id = "AccessKeyId"
    var secret = "SecretAccessKey"
    var token = "Token"
  }

  /// Throws `.badCredentials` for a document without keys; what the service says of that is in it.
  static func read(
    _ body: [UInt8], names: Names = Names(), source: String
  ) throws(StoreError) -> Credentials {
    let document: JSONValue
    do throws(JSONReader.Malformed) { document = try JSONValue(body) } catch {
      throw StoreError(
        .badCredentials, store: source,
        detail: "invalid JSON in the credentials response at byte \(error.offset)")
    }
    if let code = document.text("Code"), code != "Success" {
      let message = document.text("Message").map { ": \($0)" } ?? ""
      throw StoreError(.badCredentials, store: source, detail: "it responded \(code)\(message)")
    }
    guard let id = document.text(names.id), let secret = document.text(names.secret) else {
      throw StoreError(
        .badCredentials, store: source,
        detail: "the credentials response has no \(names.id) and \(names.secret)")
    }
    var expires: Int64?
    if let text = document.text("Expiration") {
      guard let time = UTCTime.zoned(text) else {
        throw StoreError(
          .badCredentials, store: source,
          detail: "its Expiration '\(text.prefix(40))' is not a time")
      }
      expires = time
    }
    return try Credentials(
      accessKeyID: id, secretAccessKey: secret, sessionToken: document.text(names.token),
      source: source, expires: expires
    ).checked()
  }
}

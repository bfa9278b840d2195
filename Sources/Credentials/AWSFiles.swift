import Glibc
import ObjectStore
import Posix
import SystemPackage

/// The two files of the AWS tools. A missing file is an empty one; a broken one is an error.
struct AWSFiles {
  let home: String
  let credentialsPath: String
  let configPath: String
  let credentials: ProfileFile
  let config: ProfileFile

  /// Settings, not data: more than this is some other file.
  private static let sizeLimit = 4 << 20

  init(environment: [String: String], store: String) throws(StoreError) {
    home = environment["HOME"] ?? Self.homeOfUser()
    credentialsPath = Self.path(
      environment["AWS_SHARED_CREDENTIALS_FILE"] ?? "~/.aws/credentials", home)
    configPath = Self.path(environment["AWS_CONFIG_FILE"] ?? "~/.aws/config", home)
    credentials = try Self.read(credentialsPath, store)
    config = try Self.read(configPath, store)
  }

  /// As root, a file that another user may write: what it names is not run. (sudo may keep HOME.)
  var foreignFile: String? {
    guard geteuid() == 0 else { return nil }
    return [configPath, credentialsPath].first { path in
      var status = stat()
      return stat(path, &status) == 0 && status.st_uid != 0
    }
  }

  private static func path(_ path: String, _ home: String) -> String {
    path == "~" || path.hasPrefix("~/") ? home + path.dropFirst() : path
  }

  private static func homeOfUser() -> String {
    guard let entry = getpwuid(getuid()), let folder = entry.pointee.pw_dir else { return "/" }
    return String(cString: folder)
  }

  private static func read(_ path: String, _ store: String) throws(StoreError) -> ProfileFile {
    let bytes: [UInt8]
    do throws(Errno) { bytes = try readSmallBytes(path, atMost: sizeLimit + 1) } catch {
      if [.noSuchFileOrDirectory, .notDirectory, .isDirectory].contains(error) {
        return ProfileFile()
      }
      // An unreadable file is reported: silently using credentials from elsewhere would be worse.
      throw failure(path, "\(error)", store)
    }
    if bytes.count > sizeLimit { throw failure(path, "larger than 4 MiB", store) }
    do throws(ProfileFile.SyntaxError) {
      return try ProfileFile(String(decoding: bytes, as: UTF8.self))
    } catch {
      throw failure(path, "line \(error.line): \(error.message)", store)
    }
  }

  private static func failure(_ path: String, _ detail: String, _ store: String) -> StoreError {
    StoreError(
      .invalidSource, store: store, detail: "cannot read \(path): \(detail)",
      advice: "repair the file, or name another with AWS_CONFIG_FILE or AWS_SHARED_CREDENTIALS_FILE"
    )
  }
}

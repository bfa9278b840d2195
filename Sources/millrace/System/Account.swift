import Glibc

/// What the account database (passwd) says of a user.
enum Account {
  /// An absolute path; nil where there is no such user, or none is given.
  static func home(of user: uid_t) -> String? {
    var entry = passwd()
    var found: UnsafeMutablePointer<passwd>?
    var text = [CChar](repeating: 0, count: 16 << 10)
    guard getpwuid_r(user, &entry, &text, text.count, &found) == 0, found != nil,
      let folder = entry.pw_dir
    else { return nil }
    let home = String(cString: folder)
    return home.hasPrefix("/") && home != "/nonexistent" ? home : nil
  }
}

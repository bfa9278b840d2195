public import Glibc

/// Who may change what lies in a folder, judged as sshd's StrictModes judges the way to a key file.
public struct FolderTrust: Sendable {
  public enum Flaw: Equatable, Sendable {
    /// The folder belongs to this uid, who may rename and replace what lies in it.
    case foreignOwner(uid_t)
    /// Its group or everybody may write to it.
    case writableByOthers
  }

  public var owner: uid_t
  public var mode: mode_t

  public init(owner: uid_t, mode: mode_t) {
    self.owner = owner
    self.mode = mode
  }

  public init(_ status: stat) { self.init(owner: status.st_uid, mode: status.st_mode) }

  /// Of a folder on the way to one of `user`'s. `unmapped`: see `unmappedOwner`.
  public func flawAsParent(of user: uid_t, unmapped: uid_t? = nil) -> Flaw? {
    if owner != 0, owner != user, owner != unmapped { return .foreignOwner(owner) }
    // In a sticky folder others make names of their own, and cannot rename or remove ours.
    let isSticky = mode & S_ISVTX != 0 && owner != unmapped
    return mode & 0o022 != 0 && !isSticky ? .writableByOthers : nil
  }

  /// Of a folder that only `user` may change.
  public func flawAsPrivate(to user: uid_t) -> Flaw? {
    if owner != user { return .foreignOwner(owner) }
    return mode & 0o022 != 0 ? .writableByOthers : nil
  }

  /// In a user namespace the owner shown for those it has no number for, the machine's root among them;
  /// nil where every user has one.
  public static let unmappedOwner: uid_t? = {
    let map = readSmallFile("/proc/self/uid_map")?.split(whereSeparator: \.isWhitespace) ?? []
    if map.isEmpty || map == ["0", "0", "4294967295"] { return nil }
    let text = readSmallFile("/proc/sys/kernel/overflowuid")?.filter(\.isNumber) ?? ""
    return uid_t(text) ?? 65534
  }()
}

/// What is shown as the source has it. A node whose source does not tell is then readable for the owner alone.
public struct SourceAccess: Sendable, Equatable {
  public var owner: Bool
  public var group: Bool
  public var fileMode: Bool
  public var folderMode: Bool

  public init(owner: Bool, group: Bool, fileMode: Bool, folderMode: Bool) {
    self.owner = owner
    self.group = group
    self.fileMode = fileMode
    self.folderMode = folderMode
  }
}

/// How a file system is shown to the kernel and to users.
public struct MountOptions: Sendable {
  /// As root: absolute and without links, as it was checked; a link that was put there since is not followed.
  public var mountPoint: String
  /// Shown as the source of the mount in /proc/self/mountinfo and df.
  public var sourceName: String
  /// Users other than the one who mounts see the tree; permissions are then checked by the kernel.
  public var allowOther = false
  public var owner: UInt32
  public var group: UInt32
  public var fileMode: UInt32 = 0o444
  public var folderMode: UInt32 = 0o555
  /// Owner and modes are the source's where it tells them; nil: those above, for all.
  public var sourceAccess: SourceAccess?
  public var threads = 2
  /// What the directory `.millrace` does; nil: there is none.
  public var controlFiles: ControlFiles?
  /// File systems stacked on each other below the cache folder, 1 on a plain one and 2 on overlayfs; 0:
  /// no kernel passthrough is asked for.
  public var passthroughDepth: UInt32 = 0

  public init(mountPoint: String, sourceName: String, owner: UInt32, group: UInt32) {
    self.mountPoint = mountPoint
    self.sourceName = sourceName
    self.owner = owner
    self.group = group
  }

  /// What fuse_session_new is given. Not "ro": the control directory must stay writable, so EROFS is
  /// this program's own answer.
  var arguments: [String] {
    var list = [
      "fsname=" + MountOptions.escape(sourceName), "subtype=millrace", "nosuid", "nodev",
    ]
    if allowOther { list += ["allow_other", "default_permissions"] }
    return ["millrace", "-o", list.joined(separator: ",")]
  }

  /// libfuse splits options at commas; a backslash takes a comma or a backslash literally.
  private static func escape(_ value: String) -> String {
    var escaped = ""
    for character in value.unicodeScalars {
      if character == "," || character == "\\" { escaped.append("\\") }
      escaped.unicodeScalars.append(character)
    }
    return escaped
  }
}

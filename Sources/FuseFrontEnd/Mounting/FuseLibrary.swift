import CFuseShim

/// The libfuse that this program is linked with: the machine's, or in packages one of its own.
public enum FuseLibrary {
  public static var version: String { String(cString: fuse_pkgversion()) }
}

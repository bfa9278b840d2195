import Posix

extension MountInfo.Entry {
  /// A mount of this program's.
  var isOurs: Bool { type == "fuse.millrace" }
}

/// What the index knows of one file.
struct CacheEntry {
  var id: FileID
  /// Bytes on disk (st_blocks), the sidecar included.
  var bytes: UInt64
  /// In opens; negative for files of earlier mounts: seconds before this one.
  var lastUse: Int64
  var opens: Int32
  /// Chosen for eviction, not unlinked yet: must not be opened any more.
  var isDying = false
  var isPinned = false
  /// Of an earlier mount, and not opened by a reader yet.
  var isFromBefore = false
  /// The file may grow to this without being refused, bytes; 0: nothing is reserved for it.
  var ceiling: UInt64 = 0
  /// Planned fetches that reserved it.
  var holders: Int32 = 0

  var reserved: UInt64 { ceiling > bytes ? ceiling - bytes : 0 }

  /// It is there and nothing keeps it.
  var mayGo: Bool { opens == 0 && !isDying && !isPinned && bytes > 0 }
}

/// The budget of the disk tier and the two places that it depends on: the file system and the spool of the stores.
import Glibc
import ObjectStore
import Posix

struct DiskSpace: Sendable {
  let budget: SpaceBudget
  private let folder: PrivateFolder
  /// What a store downloads whole counts against the limit, and is not on the disk yet.
  private let spool: SpoolAllowance?

  /// Files a writer may still make on a file system that counts inodes.
  private static let inodeFloor: UInt64 = 1024

  init(_ budget: SpaceBudget, of folder: PrivateFolder, spool: SpoolAllowance?) {
    self.budget = budget
    self.folder = folder
    self.spool = spool
  }

  /// A system call. Nil: the file system does not say.
  var free: SpaceBudget.FreeSpace? {
    var status = statvfs()
    guard fstatvfs(folder.raw, &status) == 0 else { return nil }
    return SpaceBudget.FreeSpace(
      bytes: UInt64(status.f_bavail).multipliedSaturated(by: UInt64(status.f_frsize)),
      lacksInodes: status.f_files > 0 && status.f_favail < Self.inodeFloor)
  }

  /// Takes the lock of the spool alone, so that it can be asked under that of the index.
  var spoolUse: SpoolAllowance.Use { spool?.use ?? SpoolAllowance.Use() }

  /// `makeSpace` is called without a lock when a store downloads a file whole: so many bytes more are to fit.
  func onSpoolShortage(_ makeSpace: @escaping @Sendable (UInt64) -> Bool) {
    spool?.onShortage(makeSpace)
  }
}

import Testing

@testable import millrace

/// Which disks a cache is better not on, and what is said of it.
@Suite struct CacheDiskTests {
  private static func disk(
    _ path: String, _ device: String, type: String = "ext4", rotates: Bool? = false,
    free: UInt64 = 1800, of size: UInt64 = 1900, readOnly: Bool = false
  ) -> CacheDisk.Disk {
    CacheDisk.Disk(
      mountPoint: path, type: type, device: device, isRotational: rotates, isReadOnly: readOnly,
      size: size << 30, free: free << 30)
  }

  private static let root = disk("/", "259:1", free: 70, of: 250)
  private static let nvme = disk("/mnt/nvme", "259:5")

  struct Case: Sendable {
    var what: String
    var cache = "/var/cache/millrace"
    var disks: [CacheDisk.Disk]
    var weakness: CacheDisk.Weakness?
    var faster: String?
    var warns = false
  }

  static let cases: [Case] = [
    Case(
      what: "on root beside an empty NVMe disk", disks: [root, nvme], weakness: .root,
      faster: "/mnt/nvme", warns: true),
    Case(what: "on root, and there is no other", disks: [root], weakness: .root),
    Case(
      what: "on root beside a full disk",
      disks: [root, disk("/mnt/nvme", "259:5", free: 1000, of: 1900)], weakness: .root),
    Case(
      what: "on root beside a small disk",
      disks: [root, disk("/mnt/small", "259:5", free: 10, of: 10)], weakness: .root),
    Case(
      what: "on root beside a rotating disk",
      disks: [root, disk("/mnt/big", "8:1", rotates: true)], weakness: .root),
    Case(
      what: "on root beside a disk that cannot be written",
      disks: [root, disk("/mnt/ro", "259:5", readOnly: true)], weakness: .root),
    Case(
      what: "on root beside another mount of the root disk",
      disks: [root, disk("/home", "259:1")], weakness: .root),
    Case(
      what: "the largest of two", disks: [root, disk("/a", "259:6", free: 900, of: 950), nvme],
      weakness: .root, faster: "/mnt/nvme", warns: true),
    Case(what: "on the NVMe disk", cache: "/mnt/nvme/cache", disks: [root, nvme]),
    Case(
      what: "on NFS, without another", cache: "/home/u/cache",
      disks: [root, disk("/home", "0:44", type: "nfs4", rotates: nil, free: 0, of: 0)],
      weakness: .network, warns: true),
    Case(
      what: "on NFS beside an NVMe disk", cache: "/home/u/cache",
      disks: [root, disk("/home", "0:44", type: "nfs4", rotates: nil, free: 0, of: 0), nvme],
      weakness: .network, faster: "/mnt/nvme", warns: true),
    Case(
      what: "on a FUSE mount", cache: "/data/cache",
      disks: [root, disk("/data", "0:50", type: "fuse.sshfs", rotates: nil)], weakness: .network,
      warns: true),
    Case(
      what: "on a rotating disk", cache: "/mnt/big/cache",
      disks: [root, disk("/mnt/big", "8:1", type: "xfs", rotates: true)], weakness: .rotational),
    Case(
      what: "in a container", disks: [disk("/", "0:30", type: "overlay", rotates: nil), nvme],
      weakness: .root, faster: "/mnt/nvme", warns: true),
  ]

  @Test(arguments: cases.indices) func aWeakDiskIsNamedWithAFasterOne(_ index: Int) throws {
    let it = Self.cases[index]
    let found = try #require(CacheDisk(of: it.cache, among: it.disks))
    #expect(found.weakness == it.weakness, "\(it.what)")
    #expect(found.faster?.mountPoint == it.faster, "\(it.what)")
    #expect((found.warning != nil) == it.warns, "\(it.what)")
    if let faster = it.faster {
      #expect(found.warning?.contains("--cache-dir \(faster)/millrace") == true, "\(it.what)")
    }
  }

  @Test func thisMachineHasAnAnswer() {
    #expect(CacheDisk.current(of: "/") != nil)
  }
}

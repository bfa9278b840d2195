import Glibc
import Posix
import TestSupport
import Testing

extension MountTests {
  /// A versioned bucket as it was, archived objects, encrypted objects, buckets that others pay for: what only
  /// a store that follows AWS closely has, filled by boto3.
  @Suite struct Versions {
    /// Fills a bucket by a few lines of boto3; `s3` is the client, `BUCKET` the name.
    private func fill(_ server: MotoServer, _ lines: String) throws -> String {
      let script = """
        import boto3, os, time
        s3 = boto3.client('s3')
        BUCKET = 'versions'
        s3.create_bucket(Bucket=BUCKET)
        """ + "\n" + lines
      return try CommandResult.check(
        [VirtualEnvironment.shared().python, "-c", script],
        environment: server.endpoint.environment,
        within: .seconds(120)
      ).output.split(whereSeparator: \.isNewline).last.map(String.init) ?? ""
    }

    private func mount(
      _ server: MotoServer, _ scratch: TemporaryFolder, _ options: [String] = []
    ) throws -> MountedMillrace {
      try MountedMillrace(
        "s3://versions", cache: scratch.path("cache"), options: options,
        environment: server.endpoint.environment, keeping: [server])
    }

    @Test(.enabled(if: requireOrSkip(.servers))) func aBucketIsMountedAsItWas() throws {
      let server = try MotoServer.start()
      let scratch = try TemporaryFolder("versions")
      let moment = try fill(
        server,
        """
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={'Status': 'Enabled'})
        for key in ['a/kept', 'a/changed', 'a/deleted', 'b/dé leted+1']:
          s3.put_object(Bucket=BUCKET, Key=key, Body=b'first of ' + key.encode())
        s3.put_object(Bucket=BUCKET, Key='a/gone before', Body=b'x')
        s3.delete_object(Bucket=BUCKET, Key='a/gone before')
        for n in range(30):
          s3.put_object(Bucket=BUCKET, Key='a/often', Body=b'%d' % n)
        time.sleep(2.1)
        moment = int(time.time()) - 1
        for n in range(1050):
          s3.put_object(Bucket=BUCKET, Key='a/often', Body=b'later %d' % n)
        s3.put_object(Bucket=BUCKET, Key='a/changed', Body=b'second')
        s3.put_object(Bucket=BUCKET, Key='a/new', Body=b'new')
        s3.delete_object(Bucket=BUCKET, Key='a/deleted')
        s3.delete_object(Bucket=BUCKET, Key='b/dé leted+1')
        print(moment)
        """)
      let then = try mount(server, scratch, ["--at", moment])
      let names = try CommandResult.check(["ls", "-R", then.path]).output
      #expect(names.contains("kept") && names.contains("deleted") && names.contains("dé leted+1"))
      #expect(!names.contains("new") && !names.contains("gone before"))
      #expect(try readText(then.path + "/a/changed") == "first of a/changed")
      #expect(try readText(then.path + "/a/deleted") == "first of a/deleted")
      #expect(try readText(then.path + "/b/dé leted+1") == "first of b/dé leted+1")
      // Its versions fill more than a page, and those of that moment come after the first.
      #expect(try readText(then.path + "/a/often") == "29")
      let etag = try CommandResult.check(
        ["getfattr", "--only-values", "-n", "user.millrace.etag", then.path + "/a/kept"]
      ).output
      #expect(etag.hasPrefix("\"") && etag.hasSuffix("\""))
      let version = try CommandResult.check(
        ["getfattr", "--only-values", "-n", "user.millrace.version", then.path + "/a/kept"]
      ).output
      #expect(version.count > 8)
      try then.unmount()
      // The same cache and the present: nothing of the past is mistaken for it.
      let now = try mount(server, scratch)
      #expect(try readText(now.path + "/a/changed") == "second")
      #expect(try readText(now.path + "/a/often") == "later 1049")
      #expect(access(now.path + "/a/deleted", F_OK) != 0)
      try now.unmount()
    }

    /// Without a listing in between: each name is asked for by itself.
    @Test(.enabled(if: requireOrSkip(.servers))) func aNameOfThePastIsFoundWithoutAListing() throws
    {
      let server = try MotoServer.start()
      let scratch = try TemporaryFolder("versions")
      let moment = try fill(
        server,
        """
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={'Status': 'Enabled'})
        s3.put_object(Bucket=BUCKET, Key='f', Body=b'old')
        s3.put_object(Bucket=BUCKET, Key='f2', Body=b'other')
        time.sleep(2.1)
        moment = int(time.time()) - 1
        s3.put_object(Bucket=BUCKET, Key='f', Body=b'newer')
        s3.delete_object(Bucket=BUCKET, Key='f2')
        s3.put_object(Bucket=BUCKET, Key='f1', Body=b'young')
        print(moment)
        """)
      let mount = try mount(server, scratch, ["--at", moment, "--metadata-ttl", "0"])
      #expect(try readText(mount.path + "/f") == "old")
      #expect(try readText(mount.path + "/f2") == "other")
      #expect(access(mount.path + "/f1", F_OK) != 0)
      try mount.unmount()
    }

    @Test(.enabled(if: requireOrSkip(.servers)))
    func anArchivedObjectFailsAtOpenAndARestoredOneDoesNot()
      throws
    {
      let server = try MotoServer.start()
      let scratch = try TemporaryFolder("versions")
      _ = try fill(
        server,
        """
        for key in ['frozen', 'restored']:
          s3.put_object(Bucket=BUCKET, Key=key, Body=b'cold', StorageClass='GLACIER')
        s3.restore_object(Bucket=BUCKET, Key='restored', RestoreRequest={'Days': 1})
        print(s3.head_object(Bucket=BUCKET, Key='restored').get('Restore'))
        """)
      let mount = try mount(server, scratch)
      #expect(try readText(mount.path + "/restored") == "cold")
      let file = open(mount.path + "/frozen", O_RDONLY | O_CLOEXEC)
      #expect(file < 0 && errno == EIO)
      if file >= 0 { close(file) }
      #expect(mount.logText.contains("s3://versions/frozen: the object is archived"))
      #expect(mount.logText.contains("restore-object"))
      try mount.unmount()
    }

    @Test(.enabled(if: requireOrSkip(.servers))) func storesChecksumsAreHeldAgainstWhatCame() throws
    {
      let server = try MotoServer.start()
      let scratch = try TemporaryFolder("versions")
      _ = try fill(
        server,
        """
        for name in ['CRC32', 'CRC32C', 'SHA1', 'SHA256', 'CRC64NVME']:
          try:
            s3.put_object(Bucket=BUCKET, Key=name, Body=name.encode() * 1000, ChecksumAlgorithm=name)
          except Exception as error:  # what botocore cannot compute without its C library
            print(error)
        """)
      let mount = try mount(server, scratch)
      var count = 0
      for name in ["CRC32", "SHA1", "SHA256", "CRC32C", "CRC64NVME"] {
        guard let text = try? readText(mount.path + "/" + name) else { continue }
        #expect(text == String(repeating: name, count: 1000))
        count += 1
      }
      #expect(count >= 3)
      #expect(try mount.stats().number("store.objectsVerified") >= 3)
      #expect(try mount.stats().number("store.checksumMismatches") == 0)
      try mount.unmount()
    }
  }
}

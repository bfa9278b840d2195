/// `make demo`: a real S3 server on loopback, a bucket of pictures, a mount, two epochs of a small
/// network, and the same on a mount of rclone's. Everything it starts or writes is gone when it ends, Ctrl-C included.
import Glibc
import Posix
import TestSupport

@main
enum Program {
  static func main() {
    Interruption.watch()
    do {
      try demo()
      say("Nothing is left running, and nothing is left on the disk but .build.")
    } catch {
      printError("demo: \(error)")
      exit(1)
    }
  }

  static func demo() throws {
    guard requireOrSkip(.fuse) else { exit(1) }
    let scratch = try TemporaryFolder("demo")
    let environment = try step("Python environment (.build/venv)") {
      try VirtualEnvironment.shared()
    }
    let pictures = try scratch.folder("pictures")
    try step("2,000 pictures of about 110 KB") {
      try Interruption.run(
        [environment.python, Checkout.root + "/docs/examples/make_images.py", pictures],
        within: .seconds(180))
    }
    let server = try step("SeaweedFS on loopback, which checks our signatures") {
      try SeaweedFS.start(bucket: "pictures")
    }
    defer { server.stop() }
    try Interruption.check()
    try step("the bucket s3://pictures filled") {
      try server.endpoint.putTree(pictures, to: "pictures", prefix: "train/")
    }
    try Interruption.check()

    let ours = scratch.path("millrace.times")
    try withMillrace(server.endpoint, scratch) { try train(environment, on: $0, times: ours) }
    let theirs = scratch.path("rclone.times")
    try withRclone(server.endpoint, scratch) { try train(environment, on: $0, times: theirs) }
    try compare(ours, theirs)
  }

  private static func withMillrace(
    _ endpoint: S3Endpoint, _ scratch: TemporaryFolder, _ body: (String) throws -> Void
  ) throws {
    let mountPoint = try scratch.folder("mnt")
    say("\n  millrace mount s3://pictures/train \(mountPoint) --endpoint-url \(endpoint.url)\n")
    let mount = try MountedMillrace(
      "s3://pictures/train", cache: scratch.folder("cache"), at: mountPoint,
      environment: endpoint.environment)
    do {
      try body(mount.path)
      try mount.unmount()
      say("Unmounted.")
    } catch {
      printError(mount.logText.split(separator: "\n").suffix(20).joined(separator: "\n"))
      throw error
    }
  }

  private static func withRclone(
    _ endpoint: S3Endpoint, _ scratch: TemporaryFolder, _ body: (String) throws -> Void
  ) throws {
    let mountPoint = try scratch.folder("rclone")
    say("\n  rclone mount :s3:pictures/train \(mountPoint) --vfs-cache-mode full\n")
    let mount = try RcloneMount(
      "pictures/train", of: endpoint, at: mountPoint, cache: scratch.folder("rclone-cache"),
      log: scratch.path("rclone.log"))
    defer { mount.end() }
    try body(mount.path)
  }

  /// Between the epochs the kernel's page cache is emptied of these files: so the second epoch shows
  /// the disk, as it would with a data set larger than memory.
  private static func train(
    _ environment: VirtualEnvironment, on path: String, times: String
  ) throws {
    say("Two epochs; the page cache is emptied of the files in between.\n")
    var command = [
      environment.python, Checkout.root + "/docs/examples/train.py", "--data", path,
      "--epochs", "2", "--workers", "4", "--forget-pages", "--times", times,
    ]
    if !times.hasSuffix("rclone.times") { command += ["--millrace", try Checkout.millrace()] }
    try Interruption.run(command, within: .seconds(300))
  }

  /// Both mounts' epochs as bars.
  private static func compare(_ ours: String, _ theirs: String) throws {
    let (millrace, rclone) = (try seconds(ours), try seconds(theirs))
    let longest = max(0.1, (millrace + rclone).max() ?? 0)
    say("Seconds for each epoch, the same loop on both mounts of the same bucket:\n")
    for epoch in 0..<min(millrace.count, rclone.count) {
      for (name, time) in [("millrace", millrace[epoch]), ("rclone", rclone[epoch])] {
        let bar = String(repeating: "#", count: max(1, Int(time / longest * 40)))
        let label = name + String(repeating: " ", count: 10 - name.count)
        say("  epoch \(epoch + 1)  \(label)\(bar) \(Double(Int(time * 10)) / 10)")
      }
    }
    say("")
  }

  /// The first number of each line.
  private static func seconds(_ file: String) throws -> [Double] {
    try readText(file).split(separator: "\n").compactMap {
      $0.split(separator: " ").first.flatMap { Double($0) }
    }
  }

  private static func step<Value>(_ name: String, _ body: () throws -> Value) throws -> Value {
    let start = Instant.now
    let value = try body()
    let tenths = (Instant.now - start).milliseconds / 100
    say("- \(name): \(tenths / 10).\(tenths % 10) s")
    return value
  }
}

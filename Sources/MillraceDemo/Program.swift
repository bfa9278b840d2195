/// `make demo`: a real S3 server on loopback, a bucket of pictures, a mount, two epochs of a small
/// network. Everything it starts or writes is gone when it ends, Ctrl-C included.
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

    let mountPoint = try scratch.folder("mnt")
    say(
      "\n  millrace mount s3://pictures/train \(mountPoint) --endpoint-url \(server.endpoint.url)\n"
    )
    let mount = try MountedMillrace(
      "s3://pictures/train", cache: scratch.folder("cache"), at: mountPoint,
      environment: server.endpoint.environment)
    do {
      try train(environment, on: mount)
      try mount.unmount()
      say("Unmounted.")
    } catch {
      printError(mount.logText.split(separator: "\n").suffix(20).joined(separator: "\n"))
      throw error
    }
  }

  /// Between the epochs the kernel's page cache is emptied of these files: so the second epoch shows
  /// the disk, as it would with a data set larger than memory.
  private static func train(_ environment: VirtualEnvironment, on mount: MountedMillrace) throws {
    say("Two epochs; the page cache is emptied of the files in between.\n")
    try Interruption.run(
      [
        environment.python, Checkout.root + "/docs/examples/train.py", "--data", mount.path,
        "--epochs", "2", "--workers", "4", "--forget-pages", "--millrace", Checkout.millrace(),
      ], within: .seconds(300))
  }

  private static func step<Value>(_ name: String, _ body: () throws -> Value) throws -> Value {
    let start = Instant.now
    let value = try body()
    let tenths = (Instant.now - start).milliseconds / 100
    say("- \(name): \(tenths / 10).\(tenths % 10) s")
    return value
  }
}

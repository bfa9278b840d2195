/// A store behind a link, as a process of its own: `MillraceLink serve` prints its port and serves until it
/// is ended; `MillraceLink raw` measures what a link carries to nowhere, `MillraceLink list` how fast it lists.
import ArgumentParser
import Glibc
import LinkServer

@main
struct Program: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "MillraceLink", abstract: "A store behind a link, for benchmarks.",
    subcommands: [Serve.self, Raw.self, List.self])
}

struct Serve: ParsableCommand {
  @Argument(help: "A directory whose subdirectories are buckets.") var folder: String
  @Option(help: "loopback, s3 (20 ms, 90 MB/s a connection) or far (120 ms, 25 MB/s).")
  var link = "loopback"
  @Option(help: "Median wait for the first byte, milliseconds, instead of the link's.")
  var firstByte: Double?
  @Option(help: "Wait for the first byte, milliseconds: the same for each answer.")
  var firstByteExact: Double?
  @Option(help: "Of one connection, MB/s, instead of the link's.") var rate: Double?
  @Option(help: "Share of the answers that take --slow-wait.") var slowShare = 0.0
  @Option(help: "Milliseconds.") var slowWait = 0.0
  @Option(help: "BUCKET/KEY=SIZE: an object that exists in name only.") var synthetic: [String] = []
  @Option(
    help: "BUCKET/PREFIX=DIRS,FILES[,NAMELENGTH]: directories of files that exist in name only.")
  var syntheticTree: [String] = []
  @Option(help: "Addresses to listen on.") var address: [String] = ["127.0.0.1"]
  @Option(help: "0: any that is free.") var port: UInt16 = 0

  func run() throws {
    guard var line = Link.named(link) else { throw ValidationError("no link is called \(link)") }
    if let firstByte { line.firstByte = firstByte / 1000 }
    if let firstByteExact {
      line.firstByte = firstByteExact / 1000
      line.sigma = 0
    }
    if let rate { line.rate = rate * 1e6 }
    line.slowShare = slowShare
    line.slowWait = slowWait / 1000
    let server = try LinkServer(folder: folder, link: line, addresses: address, port: port)
    for object in synthetic {
      let parts = object.split(separator: "=")
      let names = parts[0].split(separator: "/", maxSplits: 1)
      guard parts.count == 2, names.count == 2, let size = Int(parts[1]) else {
        throw ValidationError("--synthetic \(object): give BUCKET/KEY=SIZE")
      }
      server.addSynthetic(bucket: String(names[0]), key: String(names[1]), size: size)
    }
    for tree in syntheticTree { try add(tree, to: server) }
    print("listening on \(server.port)")
    fflush(nil)
    while true { pause() }
  }

  private func add(_ tree: String, to server: LinkServer) throws {
    let parts = tree.split(separator: "=", omittingEmptySubsequences: false)
    let names = parts[0].split(separator: "/", maxSplits: 1)
    let numbers = parts.count == 2 ? parts[1].split(separator: ",").map { Int($0) } : []
    guard let bucket = names.first, (2...3).contains(numbers.count), let folders = numbers[0],
      let files = numbers[1], let nameLength = numbers.count > 2 ? numbers[2] : 40
    else {
      throw ValidationError("--synthetic-tree \(tree): give BUCKET/PREFIX=DIRS,FILES")
    }
    try server.addSyntheticTree(
      bucket: String(bucket), prefix: names.count > 1 ? String(names[1]) : "", folders: folders,
      files: files, nameLength: nameLength)
  }
}

struct Raw: ParsableCommand {
  @Argument(help: "Port of the server.") var port: UInt16
  @Argument(help: "/BUCKET/KEY") var path: String
  @Option var connections = 16
  @Option(help: "How much of the object.") var bytes = 1 << 30
  @Option(help: "Bytes a request; without it an equal part each.") var range: Int?

  func run() throws {
    let client = RawClient(port: port, path: path)
    guard let result = client.read(bytes: bytes, connections: connections, range: range) else {
      throw ValidationError("the server did not send what was asked for")
    }
    print(
      "{\"seconds\": \(result.seconds), \"bytes\": \(result.bytes), \"mbPerSecond\": "
        + "\(Double(result.bytes) / 1e6 / result.seconds), \"firstByteSeconds\": \(result.firstByte)}"
    )
  }
}

struct List: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract:
      "Every page of a bucket, directory by directory, read for nothing but the next one's token."
  )

  @Argument(help: "Port of the server.") var port: UInt16
  @Argument(help: "Bucket.") var bucket: String
  @Option(help: "Empty, or ends with a slash.") var prefix = ""
  @Option(help: "Directories listed in parallel.") var connections = 32

  func run() throws {
    let client = ListClient(port: port, bucket: bucket, prefix: prefix)
    let result = try client.list(connections: connections)
    print(
      "{\"seconds\": \(result.seconds), \"requests\": \(result.requests), "
        + "\"bytes\": \(result.bytes), \"directories\": \(result.folders)}")
  }
}

import LinkServer
import TestSupport
import Testing

extension MountTests {
  /// docs/examples with PyTorch, as a user runs them: each epoch's order is given to the mount, and what is
  /// read then is right.
  @Suite struct Examples {
    private static let epochs = 2

    private static func command(_ name: String, _ arguments: [String]) -> [String] {
      // Nothing is left beside the examples.
      [Checkout.systemPython, "-B", "\(Checkout.root)/docs/examples/\(name)"] + arguments
        + ["--epochs", "\(epochs)", "--workers", "2"]
    }

    /// The sum of a file's bytes, as PrefetchRig writes them.
    private static func sum(_ index: Int) -> Int { PrefetchRig.size * (index & 0xff) }

    /// "epoch 0: 300 files, 6000000 bytes, sum 725600000" as its numbers.
    private func epochs(_ output: String) -> [[Int]] {
      output.split(separator: "\n").filter { $0.contains("epoch ") }.map { line in
        line.split(whereSeparator: { !$0.isNumber }).compactMap { Int($0) }
      }
    }

    private func expectFetchedByOrder(_ rig: PrefetchRig, orders: Int) throws {
      let stats = try rig.mount.stats()
      #expect(try stats.number("orders") == orders)
      #expect(try stats.number("orderedFiles") > 0)
      #expect(try stats.number("orderPathsNotFound") == 0)
      #expect(try stats.number("backgroundFiles") == 0)
      #expect(try rig.gets().lowerBound <= PrefetchRig.files)
    }

    @Test(.enabled(if: requireOrSkip(.torch)))
    func theSamplerGivesEachEpochsOrderAndEveryFileIsReadRight() throws {
      let rig = try PrefetchRig(["--prefetch", "off"])
      defer { rig.server.stop() }
      let said = try CommandResult.run(
        Self.command("ordered_sampler.py", [rig.mount.path]), within: .seconds(180))
      #expect(said.succeeded, "\(said)")
      let all = (0..<PrefetchRig.files).reduce(0) { $0 + Self.sum($1) }
      let size = PrefetchRig.files * PrefetchRig.size
      #expect(
        epochs(said.output) == (0..<Self.epochs).map { [$0, PrefetchRig.files, size, all] },
        "\(said)")
      try expectFetchedByOrder(rig, orders: Self.epochs)
      try rig.mount.unmount()
    }

    @Test(.enabled(if: requireOrSkip(.torch)))
    func ranksOfADistributedSamplerGiveAnOrderEachAndReadEverythingTogether() throws {
      let rig = try PrefetchRig(["--prefetch", "off"])
      defer { rig.server.stop() }
      let ranks = 2
      let said = (0..<ranks).map { rig.scratch.path("rank\($0)") }
      let children = try (0..<ranks).map { rank in
        try ChildProcess(
          Self.command(
            "ordered_distributed.py", [rig.mount.path, "--ranks", "\(ranks)", "--rank", "\(rank)"]),
          streams: ChildProcess.Streams(output: said[rank], errors: said[rank]))
      }
      for (rank, child) in children.enumerated() {
        let ending = child.wait(within: .seconds(180))
        let text = try readText(said[rank])
        #expect(ending == .exited(0), "\(text)")
      }
      let seen = try said.map { epochs(try readText($0)) }
      let all = (0..<PrefetchRig.files).reduce(0) { $0 + Self.sum($1) }
      for epoch in 0..<Self.epochs {
        // rank, epoch, files, bytes, sum
        let lines = seen.compactMap { $0.count > epoch ? $0[epoch] : nil }
        #expect(lines.map { $0.prefix(2) } == (0..<ranks).map { [$0, epoch] })
        #expect(lines.map { $0[2] } == [Int](repeating: PrefetchRig.files / ranks, count: ranks))
        #expect(lines.reduce(0) { $0 + $1[4] } == all)
      }
      try expectFetchedByOrder(rig, orders: ranks * Self.epochs)
      let names = try namesIn(rig.mount.path + "/.millrace")
      for rank in 0..<ranks { #expect(names.contains(Array("order.rank\(rank)".utf8))) }
      try rig.mount.unmount()
    }
  }
}

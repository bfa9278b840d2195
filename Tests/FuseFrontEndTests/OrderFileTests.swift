import Posix
import SystemPackage
import Testing

@testable import FuseFrontEnd

/// One open file of an order, driven alone.
@Suite struct OrderFileTests {
  /// What the file should be, told by the rules alone: each close is answered once; with the refusal of the file, or
  /// with what came of the text as it was when the close came, or of a later one.
  private struct Model {
    var text: [UInt8] = []
    var refusal: Errno?
    /// Text that no order has been made of yet.
    var isUnsaved = false
    var outcome: Errno?
    /// The order that is being put in force.
    var isApplying = false
    /// Whose close caused that order, and those that came since.
    var first: Int?
    var later: [Int?] = []
    var held = 0
    /// Closes without an answer.
    var open: Set<Int> = []
  }

  private struct Run {
    var file = OrderFile<Int>(limit: 60)
    var model = Model()
    var random: SeededGenerator
    /// Bytes that may be held, besides the file's own limit.
    let heldMax: Int
    var nextCloser = 0
    var problems: [String] = []

    init(seed: UInt64) {
      random = SeededGenerator(seed: seed)
      heldMax = Int.random(in: 20...80, using: &random)
    }

    mutating func require(_ holds: Bool, _ problem: String) {
      if !holds { problems.append(problem) }
    }

    mutating func write() {
      let offset = Int.random(in: -1...70, using: &random)
      let bytes = (0..<Int.random(in: 0...20, using: &random)).map { UInt8($0 + 1) }
      let fits = offset >= 0 && offset + bytes.count <= 60
      switch file.admit(bytes.count, at: offset) {
      case .refused(let error, let freed):
        require(error == model.refusal ?? .fileTooLarge, "\(error) without a reason")
        require(model.refusal != nil || !fits, "refused although it fits")
        refuse(error, freed)
      case .grows(let growth):
        require(model.refusal == nil && fits, "stored past a bound")
        if model.held + growth > heldMax {
          refuse(.noSpace, file.refuse(.noSpace))
          return
        }
        model.held += growth
        bytes.withUnsafeBytes { file.write($0, at: offset) }
        let end = offset + bytes.count
        model.text += [UInt8](repeating: 0, count: max(0, end - model.text.count))
        model.text.replaceSubrange(offset..<end, with: bytes)
        model.isUnsaved = true
      }
      require(file.text == model.text, "another text")
      require(model.held == file.text.count, "\(model.held) bytes held for \(file.text.count)")
    }

    mutating func refuse(_ error: Errno, _ freed: Int) {
      model.held -= freed
      model.text = []
      model.refusal = error
    }

    mutating func close() {
      let closer: Int? = Int.random(in: 0..<8, using: &random) == 0 ? nil : nextCloser
      nextCloser += 1
      if let closer { model.open.insert(closer) }
      if model.isApplying { model.later.append(closer) } else { model.first = closer }
      perform(file.flush(closer))
      if model.refusal != nil || !model.isApplying {
        require(closer.map { !model.open.contains($0) } ?? true, "a close hangs")
      }
    }

    mutating func apply() {
      let outcome: Errno? = Bool.random(using: &random) ? nil : .noSpace
      let isApplying = model.isApplying
      model.isApplying = false
      if isApplying { model.outcome = outcome }
      perform(file.applied(outcome))
      model.first = model.later.first ?? nil
      model.later = Array(model.later.dropFirst())
      if !model.isApplying {
        require(model.open.isEmpty, "closes hang: \(model.open)")
        model.later = []
      }
    }

    mutating func perform(_ actions: [OrderFile<Int>.Action]) {
      for action in actions {
        switch action {
        case .answer(let closer, let error):
          require(model.open.remove(closer) != nil, "answered twice or never asked: \(closer)")
          require(
            error == model.outcome || model.refusal != nil && error == model.refusal,
            "answered with \(String(describing: error))")
          require(
            model.refusal != nil || closer == model.first || !model.isUnsaved,
            "answered before its text was an order")
        case .apply(let text):
          require(!model.isApplying, "two orders of one file at once")
          require(model.isUnsaved && model.refusal == nil, "an order of nothing new")
          require(text == model.text, "an order of another text")
          model.isUnsaved = false
          model.isApplying = true
        }
      }
    }

    /// What was wrong, with the seed.
    static func problems(seed: UInt64) -> [String] {
      var run = Run(seed: seed)
      for _ in 0..<60 where run.problems.isEmpty {
        switch Int.random(in: 0..<10, using: &run.random) {
        case 0..<4: run.write()
        case 4..<7: run.close()
        default: run.apply()
        }
      }
      while run.model.isApplying, run.problems.isEmpty { run.apply() }
      run.require(run.model.open.isEmpty, "closes hang at the end: \(run.model.open)")
      return run.problems.map { "seed \(seed): \($0)" }
    }
  }

  @Test func eachCloseIsAnsweredOnceWithWhatCameOfItsText() {
    for seed in 0..<5000 as Range<UInt64> { #expect(Run.problems(seed: seed) == []) }
  }

  @Test func whatIsWrittenWhileAnOrderIsAppliedBecomesTheNextOrderForThoseThatClose() {
    var file = OrderFile<Int>(limit: 10)
    [1 as UInt8].withUnsafeBytes { file.write($0, at: 0) }
    let first = file.flush(1)
    [2 as UInt8].withUnsafeBytes { file.write($0, at: 1) }
    let waiting = [file.flush(2), file.flush(3)].joined()
    let second = file.applied(.noSpace)
    let last = file.applied(nil)
    #expect(Self.text(first) == [1] && waiting.isEmpty)
    #expect(Self.answers(second) == [1: .noSpace] && Self.text(second) == [1, 2])
    #expect(Self.answers(last) == [2: nil, 3: nil] && Self.text(last) == nil)
  }

  private static func text(_ actions: [OrderFile<Int>.Action]) -> [UInt8]? {
    actions.lazy.compactMap { if case .apply(let text) = $0 { text } else { nil } }.first
  }

  private static func answers(_ actions: [OrderFile<Int>.Action]) -> [Int: Errno?] {
    actions.reduce(into: [:]) {
      if case .answer(let closer, let error) = $1 { $0[closer] = .some(error) }
    }
  }
}

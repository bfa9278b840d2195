/// What the `state` file of a cache folder says, one word and value a line.
struct FolderState: Equatable {
  var boot: String
  var isClean: Bool
  var generation: UInt32
  var trustedFrom: UInt32
  /// The hash of the store's identity; nil in files of older versions.
  var store: String?

  init(
    boot: String, isClean: Bool, _ generation: UInt32, _ trustedFrom: UInt32, store: String? = nil
  ) {
    self.boot = boot
    self.isClean = isClean
    self.generation = generation
    self.trustedFrom = trustedFrom
    self.store = store
  }

  /// `nil` unless every line is there and right: then nothing in the folder is trusted.
  init?(text: String) {
    var values: [Substring: Substring] = [:]
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ")
      if words.count == 2 { values[words[0]] = words[1] }
    }
    guard let boot = values["boot"], let clean = values["clean"],
      let generation = values["generation"].flatMap({ UInt32($0) }), generation > 0,
      generation < .max,
      let trustedFrom = values["trusted-from"].flatMap({ UInt32($0) }), trustedFrom <= generation
    else { return nil }
    self.init(
      boot: String(boot), isClean: clean == "1", generation, trustedFrom,
      store: values["store"].map(String.init))
  }

  /// The state with which a mount begins that finds `old`. Each mount has its own generation. It distinguishes the
  /// mount's records from those of a mount whose state file did not reach the disk.
  ///
  /// `boot`: of this start of the machine, `nil` where it is unknown: then it may have stopped since. `now`: seconds
  /// since 1970.
  init(after old: FolderState?, boot: String?, now: UInt32, store: String) {
    let boot = boot ?? Self.unknownBoot
    if let old, old.generation < .max {
      let generation = old.generation + 1
      let isTrusted = old.isClean || (old.boot == boot && boot != Self.unknownBoot)
      let trustedFrom = isTrusted ? old.trustedFrom : generation
      self.init(boot: boot, isClean: false, generation, trustedFrom, store: store)
    } else {
      // There may be records of unknown generations. None of these is the current time, and higher ones are not
      // trusted either.
      let generation = max(1, now)
      self.init(boot: boot, isClean: false, generation, generation, store: store)
    }
  }

  static let unknownBoot = "unknown"

  /// Stamps of records that need no check.
  var trusted: ClosedRange<UInt32> { trustedFrom...generation }

  init?(bytes: [UInt8]) { self.init(text: String(decoding: bytes, as: UTF8.self)) }

  var text: String {
    "boot \(boot)\nclean \(isClean ? 1 : 0)\ngeneration \(generation)\ntrusted-from \(trustedFrom)\n"
      + (store.map { "store \($0)\n" } ?? "")
  }
}

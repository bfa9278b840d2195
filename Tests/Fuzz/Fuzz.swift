import Glibc

/// Entry of libFuzzer: MILLRACE_FUZZ names the parser. Built by `make fuzz` alone.
private let run: @Sendable ([UInt8]) -> Void = {
  let name = getenv("MILLRACE_FUZZ").map { String(cString: $0) } ?? ""
  guard let parser = Parsers.all.first(where: { $0.name == name }) else {
    print("MILLRACE_FUZZ: one of \(Parsers.all.map(\.name).joined(separator: ", "))")
    exit(2)
  }
  return parser.run
}()

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  run(Array(UnsafeBufferPointer(start: bytes, count: count)))
  return 0
}

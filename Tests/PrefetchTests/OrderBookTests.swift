import Posix
import Testing

@testable import Prefetch

@Suite struct OrderBookTests {
  private func text(_ lines: String) throws -> OrderText {
    try OrderText(Array(lines.utf8), mountPoint: "/mnt")
  }

  /// The older one was being checked while the newer one came.
  @Test func anOlderOrderDoesNotReplaceANewerOne() throws {
    let book = OrderBook(memoryLimit: 1 << 20)
    let older = book.newNumber()
    let newer = book.newNumber()
    try book.take(text("a\nb\n"), name: "rank0", number: newer)
    try book.take(text("c\n"), name: "rank0", number: older)
    #expect(book.state.withLock { $0.orders["rank0"]?.text.count } == 2)
    let late = book.newNumber()
    #expect(book.remove("rank0"))
    try book.take(text("c\n"), name: "rank0", number: late)
    #expect(book.names.isEmpty)
    try book.take(text("d\n"), name: "rank0")
    #expect(book.names == ["rank0"])
  }
}

import Testing

@testable import Control

@Suite struct RequestBodiesTests {
  @Test func allBodiesTogetherAreAsLargeAsOneMayBe() {
    let bodies = RequestBodies(limit: 100)
    let part = [UInt8](repeating: 1, count: 60)
    var first: RequestBodies.Body? = bodies.begin()
    first?.append(part)
    let second = bodies.begin()
    second.append(part)
    #expect(first?.excess == nil && second.excess == .others && second.bytes.isEmpty)
    first = nil
    let third = bodies.begin()
    third.append(part)
    #expect(third.excess == nil && third.bytes.count == 60)
    third.append(part)
    #expect(third.excess == .own)
    let fourth = bodies.begin()
    fourth.append(part)
    #expect(fourth.excess == nil)
  }
}

import Glibc
import Posix

/// What the server was asked and what it sent.
final class Tally: Sendable {
  struct Numbers {
    var gets = 0
    var heads = 0
    var lists = 0
    var puts = 0
    var others = 0
    var bytesSent = 0
    var connectionsPeak = 0
    var connectionsTotal = 0
    var inFlightPeak = 0
    var perAddress: [String: Int] = [:]
  }

  private struct State {
    var numbers = Numbers()
    var connections = 0
    var inFlight = 0
  }

  private let state = Lock(State())

  func connected(to address: String) {
    state.withLock { state in
      state.connections += 1
      state.numbers.connectionsTotal += 1
      state.numbers.connectionsPeak = max(state.numbers.connectionsPeak, state.connections)
      state.numbers.perAddress[address, default: 0] += 1
    }
  }

  func disconnected() { state.withLock { $0.connections -= 1 } }

  func began(_ count: (inout Numbers) -> Void) {
    state.withLock { state in
      count(&state.numbers)
      state.inFlight += 1
      state.numbers.inFlightPeak = max(state.numbers.inFlightPeak, state.inFlight)
    }
  }

  func ended() { state.withLock { $0.inFlight -= 1 } }

  func sent(_ bytes: Int) { state.withLock { $0.numbers.bytesSent += bytes } }

  var bytesSent: Int { state.withLock { $0.numbers.bytesSent } }
  var gets: Int { state.withLock { $0.numbers.gets } }

  func reset() {
    state.withLock { state in
      state.numbers = Numbers()
      state.numbers.connectionsPeak = state.connections
      state.numbers.inFlightPeak = state.inFlight
    }
  }

  var json: String {
    let state = state.withLock { $0 }
    let numbers = state.numbers
    let requests = numbers.gets + numbers.heads + numbers.lists + numbers.puts + numbers.others
    let addresses = numbers.perAddress.sorted { $0.key < $1.key }.map {
      "\"\($0.key)\": \($0.value)"
    }
    return """
      {"requests": \(requests), "gets": \(numbers.gets), "heads": \(numbers.heads), \
      "lists": \(numbers.lists), "puts": \(numbers.puts), "others": \(numbers.others), \
      "bytesSent": \(numbers.bytesSent), "connectionsOpen": \(state.connections), \
      "connectionsPeak": \(numbers.connectionsPeak), \
      "connectionsTotal": \(numbers.connectionsTotal), "inFlight": \(state.inFlight), \
      "inFlightPeak": \(numbers.inFlightPeak), "perAddress": {\(addresses.joined(separator: ", "))}, \
      "cpuSeconds": \(cpuSeconds())}

      """
  }

  /// Of this process, user and system.
  private func cpuSeconds() -> Double {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
    return seconds(usage.ru_utime) + seconds(usage.ru_stime)
  }
}

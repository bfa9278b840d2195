/// A fetch of an object, for as long as it is queued or in flight.
struct FetchID: Hashable, Sendable {
  let number: UInt64
}

/// A read of an object that was not answered at once.
struct WaiterID: Hashable, Sendable {
  let number: UInt64
}

/// A copy of an object on disk. What was found out about one copy says nothing of the next.
struct CopyID: Hashable, Sendable {
  let number: UInt64
}

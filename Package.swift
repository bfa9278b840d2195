// swift-tools-version: 6.2
import PackageDescription

// The targets are the layers of docs/architecture.md; a target can only call those it names here,
// so the compiler holds the arrows in place.

let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .treatAllWarnings(as: .error),
]

let system = Target.Dependency.product(name: "SystemPackage", package: "swift-system")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let deque = Target.Dependency.product(name: "DequeModule", package: "swift-collections")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let flyingFox = Target.Dependency.product(name: "FlyingFox", package: "FlyingFox")
let flyingSocks = Target.Dependency.product(name: "FlyingSocks", package: "FlyingFox")

func layer(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .testTarget(name: name, dependencies: dependencies, swiftSettings: strict)
}

let package = Package(
  name: "millrace",
  products: [.executable(name: "millrace", targets: ["millrace"])],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    .package(url: "https://github.com/swhitty/FlyingFox", from: "0.27.1"),
  ],
  targets: [
    // What Swift cannot say to C: variadics and macros.
    .target(name: "CFuseShim", path: "CFuseShim", linkerSettings: [.linkedLibrary("fuse3")]),
    .target(name: "CCurlShim", path: "CCurlShim", linkerSettings: [.linkedLibrary("curl")]),

    .target(name: "CEngineShim"),

    // The ground floor.
    layer("Posix", [system, deque]),
    layer("Metrics", ["Posix"]),
    layer("ObjectStore", ["Posix"]),

    // Where bytes come from.
    layer("Transport", ["ObjectStore", "Posix", "Metrics", "CCurlShim", logging, deque]),
    layer(
      "Credentials", ["Transport", "ObjectStore", "Posix", "Metrics", crypto, logging]),
    layer(
      "Stores",
      [
        "Transport", "Credentials", "ObjectStore", "Posix", "Metrics", "CEngineShim", system,
        crypto,
        logging,
      ]),

    // The path of a read, from the bottom up.
    layer(
      "ReadEngine",
      ["ObjectStore", "Posix", "Metrics", "CEngineShim", system, crypto, logging, deque]),
    layer(
      "FileSystem",
      ["ReadEngine", "ObjectStore", "Posix", "Metrics", "CEngineShim", system, logging, deque]),
    layer(
      "Prefetch", ["FileSystem", "ReadEngine", "ObjectStore", "Posix", "Metrics", system, logging]),
    layer(
      "FuseFrontEnd",
      [
        "Stores", "FileSystem", "ReadEngine", "ObjectStore", "Posix", "Metrics", "CFuseShim",
        system, logging, deque,
      ]),

    // Command line and wiring.
    layer(
      "Control",
      ["Prefetch", "ReadEngine", "FileSystem", "Metrics", "Posix", flyingFox, flyingSocks, logging]),
    .executableTarget(
      name: "millrace",
      dependencies: [
        "Control", "Prefetch", "FuseFrontEnd", "FileSystem", "ReadEngine", "Stores", "Credentials",
        "Transport",
        "ObjectStore", "Posix", "Metrics", arguments, logging, system,
      ], swiftSettings: strict),

    // What shows it at work.
    .target(
      name: "TestSupport", dependencies: ["Posix", "ObjectStore"], path: "Tests/TestSupport",
      swiftSettings: strict),
    .target(
      name: "LinkServer", dependencies: ["Posix", "CEngineShim"], path: "Tests/LinkServer",
      swiftSettings: strict),
    .executableTarget(
      name: "MillraceLink", dependencies: ["LinkServer", arguments], swiftSettings: strict),
    .executableTarget(
      name: "MillraceDemo", dependencies: ["TestSupport", "Posix"], swiftSettings: strict),
    .executableTarget(
      name: "MillraceBench",
      dependencies: ["TestSupport", "ReadEngine", "Prefetch", "Posix", arguments],
      swiftSettings: strict),

    // Replaces malloc, for what is linked into the tests.
    .target(name: "CMallocCount", path: "Tests/CMallocCount"),

    tests("PosixTests", ["Posix", "Metrics"]),
    tests("TransportTests", ["Transport", "ObjectStore", "Posix", "Metrics", "TestSupport"]),
    tests("CredentialsTests", ["Credentials", "ObjectStore", "Posix", "TestSupport", logging]),
    tests(
      "StoresTests",
      [
        "Stores", "Transport", "Credentials", "ObjectStore", "Posix", "Metrics", "TestSupport",
        logging,
      ]),
    tests(
      "ReadEngineTests",
      ["Stores", system, logging, "ReadEngine", "ObjectStore", "Posix", "Metrics", "TestSupport"]),
    tests(
      "FileSystemTests",
      ["Stores", "FileSystem", "ReadEngine", "ObjectStore", "Posix", "Metrics", "TestSupport"]),
    tests(
      "FuseFrontEndTests",
      [
        "Stores", "FuseFrontEnd", "FileSystem", "ReadEngine", "ObjectStore", "Posix", "Metrics",
        "TestSupport", "CMallocCount",
      ]),
    tests(
      "CommandLineTests",
      [
        "millrace", "Control", "FileSystem", "ReadEngine", "Metrics", "TestSupport", "Posix",
        arguments,
      ]),
    tests("MillraceBenchTests", ["MillraceBench", "ReadEngine", "TestSupport", "Posix"]),
    tests("LinkServerTests", ["LinkServer", "TestSupport", "Posix"]),
    .testTarget(
      name: "FuzzTests",
      dependencies: [
        "Stores", "Transport", "Credentials", "ObjectStore", "Posix", "Metrics", "TestSupport",
      ], swiftSettings: strict),
    tests("PrefetchTests", ["Prefetch", "ObjectStore", "Posix"]),
    tests("MountTests", ["TestSupport", "LinkServer", "Posix", "CEngineShim"]),
  ]
)

// libFuzzer brings its own main, so this is a target only where `make fuzz` wants it.
if Context.environment["MILLRACE_FUZZ_BUILD"] != nil {
  package.targets.append(
    .executableTarget(
      name: "MillraceFuzz",
      dependencies: ["Stores", "Transport", "Credentials", "ObjectStore", "Posix", "Metrics"],
      path: "Tests/Fuzz", exclude: ["corpus"],
      swiftSettings: strict + [.unsafeFlags(["-parse-as-library"])]))
}

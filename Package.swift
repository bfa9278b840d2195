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

/// Debug builds are optimized too: tests push gigabytes through the layers and search a million states, which takes an
/// unoptimized build four times as long as all compiling.
let optimized: [SwiftSetting] =
  strict + [.unsafeFlags(["-O"], .when(configuration: .debug))]

let system = Target.Dependency.product(name: "SystemPackage", package: "swift-system")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let deque = Target.Dependency.product(name: "DequeModule", package: "swift-collections")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let nio = ["NIOCore", "NIOPosix", "NIOHTTP1"].map {
  Target.Dependency.product(name: $0, package: "swift-nio")
}

func layer(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: optimized)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .testTarget(name: name, dependencies: dependencies, swiftSettings: optimized)
}

let package = Package(
  name: "millrace",
  products: [.executable(name: "millrace", targets: ["millrace"])],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
    .package(url: "https://github.com/apple/swift-crypto", exact: "4.5.2"),
    .package(url: "https://github.com/apple/swift-system", exact: "1.8.1"),
    .package(url: "https://github.com/apple/swift-collections", exact: "1.6.0"),
    .package(url: "https://github.com/apple/swift-nio", exact: "2.101.2"),
  ],
  targets: [
    // What Swift cannot say to C: variadics and macros.
    .target(name: "CFuseShim", path: "CFuseShim", linkerSettings: [.linkedLibrary("fuse3")]),
    .target(name: "CCurlShim", path: "CCurlShim", linkerSettings: [.linkedLibrary("curl")]),

    // Checksums over every byte: optimized in every build.
    .target(name: "CEngineShim", cSettings: [.unsafeFlags(["-O2"])]),
    .target(name: "CProcessShim"),

    // The ground floor.
    layer("Posix", [system, deque]),
    layer("Metrics", ["Posix"]),
    layer("ObjectStore", ["Posix"]),

    layer("Formats", ["ObjectStore", "CEngineShim", crypto]),

    // Where bytes come from.
    layer(
      "Transport",
      ["Formats", "ObjectStore", "Posix", "Metrics", "CCurlShim", system, logging, deque]),
    layer(
      "Credentials",
      ["Transport", "Formats", "ObjectStore", "Posix", "Metrics", system, crypto, logging]),
    layer(
      "S3Store",
      ["Transport", "Credentials", "Formats", "ObjectStore", "Posix", "Metrics", crypto, logging]),
    layer(
      "HTTPStore",
      ["Transport", "Credentials", "Formats", "ObjectStore", "Posix", "Metrics", system]),
    layer("LocalStore", ["ObjectStore", "Posix", "Metrics", system]),
    layer("CatalogStore", ["Formats", "ObjectStore", "Posix", "CEngineShim", system]),

    // The path of a read, from the bottom up.
    layer(
      "ReadEngine",
      [
        "Formats", "ObjectStore", "Posix", "Metrics", "CEngineShim", system, crypto, logging, deque,
      ]),
    layer(
      "FileSystem",
      [
        "ReadEngine", "Formats", "ObjectStore", "Posix", "Metrics", "CEngineShim", system, logging,
        deque,
      ]),
    layer(
      "Prefetch", ["FileSystem", "ReadEngine", "ObjectStore", "Posix", "Metrics", system, logging]),
    layer(
      "FuseFrontEnd",
      [
        "FileSystem", "ReadEngine", "ObjectStore", "Posix", "Metrics", "CFuseShim", system, logging,
        deque,
      ]),

    // Command line and wiring.
    layer(
      "Control",
      [
        "Prefetch", "ReadEngine", "FileSystem", "Formats", "Metrics", "Posix", "CProcessShim",
        logging,
      ] + nio),
    .executableTarget(
      name: "millrace",
      dependencies: [
        "Control", "Prefetch", "FuseFrontEnd", "FileSystem", "ReadEngine", "S3Store", "HTTPStore",
        "LocalStore", "CatalogStore", "Credentials", "Transport", "Formats", "ObjectStore", "Posix",
        "Metrics", "CProcessShim", arguments, logging, system,
      ], swiftSettings: optimized),

    // What shows it at work.
    .target(
      name: "TestSupport", dependencies: ["Posix", "ObjectStore"], path: "Tests/TestSupport",
      swiftSettings: optimized),
    .target(
      name: "LinkServer", dependencies: ["Posix", "CEngineShim"], path: "Tests/LinkServer",
      swiftSettings: optimized),
    .executableTarget(
      name: "MillraceLink", dependencies: ["LinkServer", arguments], swiftSettings: optimized),
    .executableTarget(
      name: "MillraceDemo", dependencies: ["TestSupport", "Posix"], swiftSettings: optimized),
    .executableTarget(
      name: "MillraceBench",
      dependencies: ["TestSupport", "ReadEngine", "Prefetch", "Posix", arguments],
      swiftSettings: optimized),

    // Replaces malloc, for what is linked into the tests.
    .target(name: "CMallocCount", path: "Tests/CMallocCount"),

    tests("PosixTests", ["Posix", "Metrics", "TestSupport", system]),
    tests("TransportTests", ["Transport", "ObjectStore", "Posix", "Metrics", "TestSupport"]),
    tests("FormatsTests", ["Formats", "ObjectStore", "Posix", "TestSupport"]),
    tests(
      "CredentialsTests",
      ["Credentials", "Transport", "Formats", "ObjectStore", "Posix", "TestSupport", logging]),
    tests(
      "S3StoreTests",
      [
        "S3Store", "Transport", "Credentials", "Formats", "ObjectStore", "Posix", "Metrics",
        "TestSupport", logging,
      ]),
    tests(
      "HTTPStoreTests",
      [
        "HTTPStore", "Transport", "Formats", "ObjectStore", "Posix", "Metrics", "TestSupport",
        logging,
      ]),
    tests("LocalStoreTests", ["LocalStore", "ObjectStore", "Posix", "Metrics", "TestSupport"]),
    tests("CatalogStoreTests", ["CatalogStore", "ObjectStore", "Posix", "TestSupport"]),
    tests(
      "ReadEngineTests",
      [
        "S3Store", "HTTPStore", "LocalStore", "CatalogStore", "Transport", "Credentials",
        "CEngineShim", system, logging, crypto, "ReadEngine", "ObjectStore", "Posix", "Metrics",
        "TestSupport",
      ]),
    tests(
      "FileSystemTests",
      ["LocalStore", "FileSystem", "ReadEngine", "ObjectStore", "Posix", "Metrics", "TestSupport"]),
    tests(
      "FuseFrontEndTests",
      [
        "LocalStore", "FuseFrontEnd", "FileSystem", "ReadEngine", "ObjectStore", "Posix", "Metrics",
        "TestSupport", "CMallocCount",
      ]),
    tests(
      "CommandLineTests",
      [
        "millrace", "Control", "FileSystem", "FuseFrontEnd", "Prefetch", "ReadEngine", "Metrics",
        "TestSupport", "Posix", "ObjectStore", "CProcessShim", arguments, logging,
      ] + nio),
    tests("MillraceBenchTests", ["MillraceBench", "ReadEngine", "TestSupport", "Posix"]),
    tests("LinkServerTests", ["LinkServer", "TestSupport", "Posix"]),
    .testTarget(
      name: "FuzzTests",
      dependencies: [
        "millrace", "Control", "Prefetch", "FileSystem", "ReadEngine", "S3Store", "HTTPStore",
        "CatalogStore", "Transport", "Credentials", "Formats", "ObjectStore", "Posix", "Metrics",
        "CEngineShim", "TestSupport",
      ], swiftSettings: optimized),
    tests(
      "PrefetchTests",
      [
        "Prefetch", "S3Store", "HTTPStore", "Transport", "Formats", "FileSystem", "ReadEngine",
        "ObjectStore",
        "Posix", "Metrics", "TestSupport", system, logging,
      ]),
    tests(
      "MountTests", ["TestSupport", "LinkServer", "Posix", "CEngineShim"]),
  ]
)

// libFuzzer brings its own main, so its target is there only where `make fuzz` wants it.
if Context.environment["MILLRACE_ONLY"] == "fuzz" {
  package.targets.append(
    .executableTarget(
      name: "MillraceFuzz",
      dependencies: [
        "Control", "Prefetch", "FuseFrontEnd", "FileSystem", "ReadEngine", "S3Store", "HTTPStore",
        "CatalogStore", "Transport", "Credentials", "Formats", "ObjectStore", "Posix", "Metrics",
        "CEngineShim",
      ],
      path: "Tests/Fuzz", exclude: ["corpus"],
      swiftSettings: optimized + [.unsafeFlags(["-parse-as-library"])]))
}

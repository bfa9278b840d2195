public import ObjectStore
public import Transport

/// What the user may say of a site beside its address.
public struct HTTPStoreOptions: Sendable {
  /// A list of the files that replaces the server's listings: an http(s) address or a path on this
  /// machine. CSV or JSON lines, see docs; read once, at the mount.
  public var manifest: String?
  /// How long the manifest at an address may take.
  public var manifestTimeout: Duration = .seconds(60)

  /// A token, or a file that holds one.
  public var bearerToken: String?
  public var bearerTokenFile: String?
  /// Logins by host; `nil`: none are looked for.
  public var netrcFile: String?
  public var netrcIsOptional = false
  /// Where files of servers without ranges are kept while they are read, and how much of them.
  public var spool = SpoolAllowance(folder: "/tmp")
  /// The address is a hub's, and this the repository of it that is mounted.
  public var hub: HubAddress?

  /// Keys are what stands behind the origin in an address, query and all: only fetched, never listed.
  public var keysAreTargets = false

  /// The site that is mounted: what it is decides where it may send to. nil: by its own host.
  public var peers: PeerPolicy?
  /// The address comes from this site's manifest and not from the user.
  public var namedBy: PeerPolicy?
  /// "HOST[:PORT]" that `bearerToken` is for; nil: the site that is mounted, whichever it is.
  public var bearerTokenHost: String?

  public init(manifest: String? = nil) { self.manifest = manifest }
}

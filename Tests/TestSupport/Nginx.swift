import Glibc

/// nginx over a folder: ranges, ETags, and listings as JSON or HTML; over TLS with a certificate of
/// its own if asked. Its access log is the witness of what was asked of it.
public final class Nginx: Sendable {
  /// `html`: with rounded sizes; `htmlExact`: as nginx is configured by default.
  public enum Listing: String, Sendable { case json, html, htmlExact, none }

  /// `http://127.0.0.1:PORT` or `https://localhost:PORT`.
  public let url: String
  /// The certificate to trust, a PEM file; `nil` without TLS.
  public let certificate: String?
  /// Its key: the certificate is also what a client shows to a server that wants one.
  public let key: String?
  private let server: NginxProcess

  /// `rate`: bytes a second for each response; 0 for no limit. `extra`: more lines for the server
  /// block.
  public static func start(
    root: String, autoindex: Listing = .json, tls: Bool = false, wantsCertificate: Bool = false,
    rate: Int = 0, extra: String = ""
  ) throws -> Nginx {
    try Nginx(
      root: root, autoindex: autoindex, tls: tls, wantsCertificate: wantsCertificate, rate: rate,
      extra: extra)
  }

  private init(
    root: String, autoindex: Listing, tls: Bool, wantsCertificate: Bool, rate: Int, extra: String
  ) throws {
    let index: String =
      switch autoindex {
      case .none: "autoindex off;"
      case .json: "autoindex on; autoindex_format json;"
      case .html: "autoindex on; autoindex_format html; autoindex_exact_size off;"
      case .htmlExact: "autoindex on;"
      }
    let folder = try TemporaryFolder("nginx")
    certificate = tls ? try Self.makeCertificate(in: folder) : nil
    key = tls ? folder.path("key.pem") : nil
    let clients =
      wantsCertificate
      ? "ssl_client_certificate \(folder.path("certificate.pem")); ssl_verify_client on;" : ""
    server = try NginxProcess(
      in: folder, tls: tls,
      body: """
        merge_slashes off;
        limit_rate \(rate);
        \(clients)
        location / { root \(root); \(index) \(extra) }
        """)
    url = tls ? "https://localhost:\(server.port)" : "http://127.0.0.1:\(server.port)"
  }

  /// Every request so far.
  public var requests: [RequestLog.Entry] { server.requests }

  public func stop() { server.stop() }

  private static func makeCertificate(in folder: TemporaryFolder) throws -> String {
    try CommandResult.check([
      "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
      "-days", "2", "-subj", "/CN=localhost", "-addext",
      "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", folder.path("key.pem"), "-out",
      folder.path("certificate.pem"),
    ])
    return folder.path("certificate.pem")
  }
}

/// nginx as a forward proxy for plain HTTP, as `http_proxy` names one.
public final class ForwardProxy: Sendable {
  public let url: String
  private let server: NginxProcess

  public init() throws {
    let folder = try TemporaryFolder("proxy")
    server = try NginxProcess(
      in: folder, tls: false,
      body: """
        location / {
          proxy_pass http://$http_host$request_uri; proxy_http_version 1.1;
          proxy_set_header Host $http_host; proxy_buffering off;
        }
        """)
    url = "http://127.0.0.1:\(server.port)"
  }

  public var requests: [RequestLog.Entry] { server.requests }
}

/// nginx before another server, which it passes every request on to unchanged (path and Host
/// included: signatures stay valid): it logs what was asked, and can be slow on purpose.
public final class LoggingProxy: Sendable {
  public let url: String
  private let server: NginxProcess

  /// `upstream`: `http://127.0.0.1:PORT`. `rate`: bytes a second for each response; 0 for no limit.
  public static func start(before upstream: String, rate: Int = 0) throws -> LoggingProxy {
    try LoggingProxy(upstream, rate: rate)
  }

  private init(_ upstream: String, rate: Int) throws {
    let address = upstream.split(separator: "/").last.map(String.init) ?? upstream
    server = try NginxProcess(
      in: TemporaryFolder("proxy"), tls: false,
      http: "upstream behind { server \(address); keepalive 64; }",
      body: """
        merge_slashes off;
        limit_rate \(rate);
        location / {
          proxy_pass http://behind;
          proxy_http_version 1.1;
          proxy_set_header Connection "";
          proxy_set_header Host $http_host;
          proxy_request_buffering off;
          \(rate == 0 ? "proxy_buffering off;" : "proxy_max_temp_file_size 0;")
        }
        """)
    url = "http://127.0.0.1:\(server.port)"
  }

  /// Every request so far. nginx writes an entry when the response has been sent.
  public var requests: [RequestLog.Entry] { server.requests }

  public func stop() { server.stop() }
}

/// One nginx with one server block, in the foreground, in a folder of its own.
final class NginxProcess: Sendable {
  let port: UInt16
  private let folder: TemporaryFolder
  private let process: ServerProcess

  init(in folder: TemporaryFolder, tls: Bool, http: String = "", body: String) throws {
    guard let nginx = findProgram("nginx") else {
      throw SupportError("nginx is missing: apt-get install nginx-light, or make setup")
    }
    self.folder = folder
    port = try freePorts(1)[0]
    let security =
      tls
      ? "ssl_certificate \(folder.path("certificate.pem")); ssl_certificate_key \(folder.path("key.pem"));"
      : ""
    let scratch = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map {
      "\($0)_temp_path \(folder.path)/\($0);"
    }
    // As root nginx would serve as nobody, who cannot enter the test's folders.
    let user = geteuid() == 0 ? "user root;" : ""
    let configuration = try folder.file(
      "nginx.conf",
      text: """
        daemon off; worker_processes 1; pid \(folder.path)/pid; error_log stderr warn; \(user)
        events { worker_connections 4096; }
        http {
          \(scratch.joined(separator: " "))
          default_type application/octet-stream; sendfile on; tcp_nodelay on; etag on;
          client_max_body_size 0; keepalive_requests 1000000;
          \(RequestLog.format)
          access_log \(folder.path)/access witness;
          \(http)
          server {
            listen 127.0.0.1:\(port)\(tls ? " ssl" : "") backlog=1024;
            \(security)
            \(body)
          }
        }
        """)
    process = try ServerProcess(
      [nginx, "-p", folder.path, "-e", "stderr", "-c", configuration], port: port,
      log: folder.path("log"))
  }

  var requests: [RequestLog.Entry] { RequestLog.read(folder.path("access")) }

  func stop() { process.stop() }
}

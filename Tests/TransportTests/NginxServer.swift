import Glibc
import Posix

/// A real nginx on loopback with files of its own, gone without a trace after `stop()`.
final class NginxServer: Sendable {
  static let executable = "/usr/sbin/nginx"
  static var isInstalled: Bool { access(executable, X_OK) == 0 }

  let folder: String
  let port: UInt16
  let tlsPort: UInt16
  private let process: pid_t

  init(files: [(name: String, content: [UInt8])], withTLS: Bool = false) throws {
    var template = Array("/tmp/millrace-nginx-XXXXXX".utf8CString)
    let folder = String(cString: mkdtemp(&template))
    // nginx started as root serves as an unprivileged user.
    chmod(folder, 0o755)
    (port, tlsPort) = (closedPort(), closedPort())
    self.folder = folder
    for (name, content) in files { try writeFile("\(folder)/\(name)", content) }
    if withTLS { try makeCertificate(in: folder) }
    let text = configuration(folder: folder, port: port, tlsPort: withTLS ? tlsPort : nil)
    try writeFile("\(folder)/nginx.conf", Array(text.utf8))
    process = try spawn([Self.executable, "-p", folder, "-c", "\(folder)/nginx.conf"])
    try waitUntilUp()
  }

  func stop() {
    kill(process, SIGTERM)
    var status: CInt = 0
    waitpid(process, &status, 0)
    if let remover = try? spawn(["/bin/rm", "-rf", folder]) { waitpid(remover, &status, 0) }
  }

  var certificate: String { "\(folder)/cert.pem" }
  func url(_ name: String) -> String { "http://127.0.0.1:\(port)/\(name)" }
  func tlsURL(_ name: String) -> String { "https://localhost:\(tlsPort)/\(name)" }

  private func waitUntilUp() throws {
    for _ in 0..<500 {
      if canConnect(port) { return }
      usleep(10_000)
    }
    throw ServerFailure(words: "nginx did not come up; see \(folder)/error.log")
  }
}

private func configuration(folder: String, port: UInt16, tlsPort: UInt16?) -> String {
  let tls =
    tlsPort.map { tlsPort in
      """
      listen 127.0.0.1:\(tlsPort) ssl;
      ssl_certificate \(folder)/cert.pem;
      ssl_certificate_key \(folder)/key.pem;
      """
    } ?? ""
  return """
    daemon off; worker_processes 1; pid \(folder)/nginx.pid; error_log \(folder)/error.log;
    events { worker_connections 512; }
    http {
      access_log off; sendfile on; keepalive_requests 100000; keepalive_timeout 60s;
      client_body_temp_path \(folder)/b; proxy_temp_path \(folder)/p; fastcgi_temp_path \(folder)/f;
      uwsgi_temp_path \(folder)/u; scgi_temp_path \(folder)/s;
      server {
        listen 127.0.0.1:\(port); \(tls)
        root \(folder); merge_slashes off;
        location /echo/ { 
            return 200 "$request_method $request_uri $http_user_agent|$http_accept_encoding|$http_expect|$http_content_type|$content_length|$http_x_empty"; }
      }
    }
    """
}

private func makeCertificate(in folder: String) throws {
  let openssl = try spawn([
    "/usr/bin/openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
    "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", "\(folder)/key.pem",
    "-out", "\(folder)/cert.pem",
  ])
  var status: CInt = 0
  waitpid(openssl, &status, 0)
  guard status == 0 else { throw ServerFailure(words: "openssl ended with \(status)") }
}

struct ServerFailure: Error { var words: String }

private func writeFile(_ path: String, _ content: [UInt8]) throws {
  let file = try OwnedDescriptor.open(path, O_CREAT | O_WRONLY | O_TRUNC, mode: 0o644)
  var written = 0
  while written < content.count {
    let count = content.withUnsafeBytes {
      write(file.raw, $0.baseAddress! + written, $0.count - written)
    }
    guard count > 0 else { throw ServerFailure(words: "cannot write \(path)") }
    written += count
  }
}

/// Starts a program with its output thrown away.
private func spawn(_ arguments: [String]) throws -> pid_t {
  var actions = posix_spawn_file_actions_t()
  posix_spawn_file_actions_init(&actions)
  defer { posix_spawn_file_actions_destroy(&actions) }
  for descriptor in 0...2 as ClosedRange<CInt> {
    posix_spawn_file_actions_addopen(&actions, descriptor, "/dev/null", O_RDWR, 0)
  }
  var pointers = arguments.map { strdup($0) } + [nil]
  defer { for pointer in pointers { free(pointer) } }
  var process: pid_t = 0
  let result = posix_spawn(&process, arguments[0], &actions, nil, &pointers, environ)
  guard result == 0 else { throw ServerFailure(words: "cannot start \(arguments[0])") }
  return process
}

private func canConnect(_ port: UInt16) -> Bool {
  let probe = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
  defer { close(probe) }
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
  address.sin_port = port.bigEndian
  return withUnsafePointer(to: &address) { pointer in
    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      connect(probe, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
    }
  }
}

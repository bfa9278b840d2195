import ArgumentParser

/// Environment variables that the program reads.
enum Variables {
  private static let prefix = "MILLRACE_"
  /// Those that are no option.
  private static let others: Set<String> = [
    "MILLRACE_FOREGROUND", "MILLRACE_BEARER_TOKEN", "MILLRACE_BEARER_TOKEN_HOST",
  ]

  /// A warning for each MILLRACE_ variable that is none of ours: a misspelt one would be ignored without a word.
  static func warnings(_ environment: [String: String]) -> [String] {
    let known = others.union(options.map(OptionValues.variable))
    return environment.keys.sorted().compactMap { name in
      guard name.hasPrefix(prefix), !known.contains(name), !isForeign(name) else { return nil }
      // All begin alike: that says nothing of how near they are.
      let nearest = Suggestion.nearest(
        to: String(name.dropFirst(prefix.count)),
        in: known.sorted().map { String($0.dropFirst(prefix.count)) })
      return "\(name) is not an option of millrace and is ignored"
        + (nearest.map { "; did you mean \(prefix)\($0)?" } ?? "; see millrace mount --help")
    }
  }

  /// Kubernetes sets these for a service named millrace; the launcher sets its own.
  private static func isForeign(_ name: String) -> Bool {
    name.hasPrefix("MILLRACE_SERVICE_") || name.hasPrefix("MILLRACE_PORT")
      || name.hasPrefix("MILLRACE_INTERNAL_")
  }

  /// Names of all options that can come from the environment, without dashes.
  static let options: [String] = {
    // The usage text of the parser is the one list that cannot be out of date.
    let text =
      SourceOptions.helpMessage(includeHidden: true, columns: 200)
      + MountingOptions.helpMessage(includeHidden: true, columns: 200)
    return text.split(separator: "\n").compactMap { line in
      let label = line.drop { $0 == " " }
      guard line.hasPrefix("  --") else { return nil }
      return String(label.dropFirst(2).prefix { $0.isLetter || $0.isNumber || $0 == "-" })
    }
  }()

  /// Variables of other programs that name files: what is relative is so to where the command was given, and the
  /// daemon leaves that directory.
  private static let files = [
    "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE",
    "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "NETRC", "HF_HOME",
    "HF_TOKEN_PATH", "SSL_CERT_FILE", "CURL_CA_BUNDLE",
  ]

  static func withAbsolutePaths(_ environment: [String: String]) -> [String: String] {
    var result = environment
    for name in files {
      guard let path = result[name], !path.isEmpty, !path.hasPrefix("/"), !path.hasPrefix("~")
      else { continue }
      result[name] = absolutePath(path)
    }
    return result
  }
}

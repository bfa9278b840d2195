/// What users of mount(8) and of other programs that mount buckets type: `-o key=value,...` and other names of our options.
/// Done to the arguments before they are parsed, so that `--help` shows one name of each option.
enum PeerHabits {
  /// mountpoint-s3, rclone, s3fs and the AWS CLI.
  static let otherNames = [
    "--cache": "--cache-dir", "--force-path-style": "--path-style", "--dual-stack": "--dualstack",
    "--transfer-acceleration": "--accelerate", "--allow-non-empty": "--nonempty",
  ]

  /// Of mount(8) and fstab(5): they say when to mount, or what every mount here is.
  private static let ignored: Set<String> = [
    "ro", "defaults", "_netdev", "auto", "noauto", "nofail", "user", "users", "nouser", "nosuid",
    "nodev", "noexec", "noatime", "nodiratime", "relatime", "exec", "async",
  ]

  /// `arguments`: of the program, from the command on. What stands behind `--` is another program's.
  static func applied(to arguments: [String]) throws(Failure) -> [String] {
    let own = arguments.prefix { $0 != "--" }
    guard let command = own.first, ["mount", "run", "doctor", "snapshot"].contains(command) else {
      return arguments
    }
    var result: [String] = []
    var rest = own[...]
    while let argument = rest.popFirst() {
      if argument == "-o" {
        guard let list = rest.popFirst() else {
          throw .usage("-o: expected options such as -o allow_other,cache_dir=/mnt/nvme/cache")
        }
        result += try options(list)
      } else if argument.hasPrefix("-o"), !argument.hasPrefix("--") {
        result += try options(String(argument.dropFirst(2)))
      } else {
        result.append(renamed(argument))
      }
    }
    return result + arguments[own.endIndex...]
  }

  private static func renamed(_ argument: String) -> String {
    let name = argument.prefix { $0 != "=" }
    guard let ours = otherNames[String(name)] else { return argument }
    return ours + argument.dropFirst(name.count)
  }

  /// "allow_other,cache_dir=/x" as options of ours; `\,` is a comma of a value.
  private static func options(_ list: String) throws(Failure) -> [String] {
    var items = [""]
    var isEscaped = false
    for character in list {
      if isEscaped || character != "," && character != "\\" {
        items[items.count - 1].append(character)
        isEscaped = false
      } else if character == "\\" {
        isEscaped = true
      } else {
        items.append("")
      }
    }
    var result: [String] = []
    for item in items where !item.isEmpty && !item.hasPrefix("x-") && !item.hasPrefix("comment=") {
      if ignored.contains(item) { continue }
      if item == "rw" { throw .usage("-o rw: every mount is read-only") }
      let name = item.prefix { $0 != "=" }
      let dashed = String(name.map { $0 == "_" ? "-" : $0 })
      result.append(renamed("--" + dashed + item.dropFirst(name.count)))
    }
    return result
  }
}

/// How many names there are. The store's exist in name only; the plain folder has the same as empty files.
struct NamesSizes: Sendable {
  struct Tree: Sendable {
    /// Of the store.
    var bucket: String
    /// 0: all lie in the top folder.
    var folders: Int
    /// In each.
    var files: Int

    var objects: Int { max(1, folders) * files }
    /// The store's option for this content.
    var option: String { "\(bucket)=\(folders),\(files),\(NamesSizes.nameLength)" }
    var description: String {
      folders > 0
        ? "\(grouped(objects)) files in \(grouped(folders)) directories"
        : "\(grouped(objects)) in one directory"
    }
  }

  static let nameLength = 40

  var small = Tree(bucket: "small", folders: 100, files: 200)
  var flat = Tree(bucket: "flat", folders: 0, files: 100_000)
  var million = Tree(bucket: "million", folders: 1000, files: 1000)
  var millions = Tree(bucket: "millions", folders: 5000, files: 1000)

  static let quick = NamesSizes(
    small: Tree(bucket: "small", folders: 10, files: 200),
    flat: Tree(bucket: "flat", folders: 0, files: 10_000),
    million: Tree(bucket: "million", folders: 20, files: 1000),
    millions: Tree(bucket: "millions", folders: 100, files: 1000))

  var all: [Tree] { [small, flat, million, millions] }
}

/// "1,000,000".
func grouped(_ number: Int) -> String {
  let digits = Array(String(number))
  var text = ""
  for (index, digit) in digits.enumerated() {
    if index > 0, (digits.count - index) % 3 == 0 { text += "," }
    text.append(digit)
  }
  return text
}

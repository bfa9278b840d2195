import ArgumentParser

@main
struct Millrace: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "millrace", version: "0.1.0")
}

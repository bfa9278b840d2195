import ObjectStore
import TestSupport
import Testing

@testable import S3Store

/// Where requests go, against the cases that AWS publishes with botocore.
@Suite struct EndpointTests {
  /// What we do otherwise, each for a reason.
  private func isOtherwise(_ bucket: String, _ region: String, isError: Bool) -> Bool {
    // Aliases on Outposts are not built: told so at the mount.
    if bucket.hasSuffix("--op-s3") { return true }
    // Characters that no store has ever allowed in a bucket's name are refused before a request.
    if !isError, bucket.contains(where: { "#! %".contains($0) }) { return true }
    return false
  }

  @Test(.enabled(if: requireOrSkip(.servers))) func endpointsAreThoseOfThePublishedCases() throws {
    let lines = try CommandResult.check(
      [
        VirtualEnvironment.shared().python, Checkout.tools + "/endpoints.py",
        Checkout.buildFolder + "/botocore",
      ], within: .seconds(300)
    ).output.split(separator: "\n")
    #expect(lines.count > 200)
    var compared = 0
    for line in lines {
      let fields = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
      try #require(fields.count == 7, "\(line)")
      let flags = Set(fields[3].split(separator: " "))
      var options = S3Options(
        bucket: fields[0], endpointURL: fields[2].isEmpty ? nil : fields[2], region: fields[1])
      options.variants.usesDualStack = flags.contains("dualstack")
      options.variants.usesFIPS = flags.contains("fips")
      options.variants.accelerates = flags.contains("accelerate")
      if flags.contains("arnregion") { options.variants.usesARNRegion = true }
      if flags.contains("noarnregion") { options.variants.usesARNRegion = false }
      options.pathStyle = flags.contains("path") ? true : nil
      let isError = fields[4] == "error"
      if isOtherwise(fields[0], fields[1], isError: isError) { continue }
      // With an endpoint of one's own botocore tries the host name, we the path unless told otherwise.
      if !fields[2].isEmpty, options.pathStyle == nil, !isError {
        options.pathStyle = fields[4].hasSuffix("/" + fields[0]) ? true : false
      }
      do throws(StoreError) {
        let address = try BucketAddress(options: options)
        let path = address.path(nil)
        let url = "\(address.scheme)://\(address.host)\(path == "/" ? "" : path)"
        #expect(url == fields[4], "\(line)")
        if !isError {
          #expect(address.service == fields[5], "\(line)")
          #expect(address.signingRegion == fields[6], "\(line)")
        }
      } catch {
        #expect(isError, "\(line): \(error)")
        #expect(error.kind == .invalidSource || error.kind == .unsupported, "\(line): \(error)")
      }
      compared += 1
    }
    #expect(compared > 200)
  }
}

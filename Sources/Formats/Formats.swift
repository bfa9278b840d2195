// Formats: what other programs write, read into values, and our values written as they expect them. One
// implementation of each, with no I/O, no thread and no state.
//
// Parts. Each file is one format:
//   UTCTime                      times: the calendar, ISO 8601, the Date of HTTP, times of manifests, nginx's minutes
//   Hex, Base64, PercentEncoding bytes as text
//   HTTPURL                      addresses: taken apart, joined, resolved
//   JSONReader, JSONValue        JSON: objects one after the other, or a small document whole
//   XMLReader, XMLTexts          XML: a pull parser, or the texts of a small document
//   CSVReader, ManifestLines     lists of objects: CSV and JSON lines as fields with a line number
//   ContentRange, EntityTag      the values of HTTP headers
//   ObjectName                   which names can be files below a mount
//   StoreChecksum                checksums that stores state of an object's content
//
// Flow. Callers hand in bytes (names are bytes, and need not be UTF-8) and get a value, nil, or an error with the place
// in the input and the reason. What a value means is decided by the caller: whether a time is missing or wrong, whether
// a manifest may leave out a size.
//
// Promises. No input makes a reader trap, recurse without a bound or take memory out of proportion (`make fuzz`). A
// reader repairs nothing: a repaired name would be another object. Where two callers differ in how strict they must be,
// the one reader has an option or two entry points, and the reason stands beside it.
//
// Callers. Transport and Credentials (signatures, services' answers), the stores (listings, headers, manifests),
// ReadEngine (names of cache files), Control (queries) and the command line (times). FoundationEssentials is used where
// it does as well as code of our own (Base64); docs/decisions/0012-formats.md has the measurements.

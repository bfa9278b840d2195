/// A command that takes all options of a mount, group by group.
///
/// Not as one group of groups: a debug build of the parser checks each group several times for each level of nesting,
/// which took more time than the mount.
protocol OptionGroups {
  var cacheDirectory: CacheDirectoryOption { get }
  var common: CommonOptions { get }
  var commonOfMount: CommonMountOptions { get }
  var tree: TreeOptions { get }
  var bucket: BucketOptions { get }
  var site: SiteOptions { get }
  var network: NetworkOptions { get }
  var cache: CacheOptions { get }
  var prefetch: PrefetchOptionTexts { get }
  var mount: MountPointOptions { get }
  var logging: LoggingOptions { get }
}

extension OptionGroups {
  var options: SharedOptions {
    var source = SourceOptions()
    source.cache = cacheDirectory
    source.common = common
    source.tree = tree
    source.bucket = bucket
    source.site = site
    source.network = network
    var mounting = MountingOptions()
    mounting.common = commonOfMount
    mounting.cache = cache
    mounting.prefetch = prefetch
    mounting.mount = mount
    mounting.logging = logging
    return SharedOptions(source, mounting)
  }
}

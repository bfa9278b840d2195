public import SystemPackage

extension Errno {
  /// What a user can raise where the machine gives no thread, descriptor or memory.
  public var limitAdvice: String {
    switch self {
    case .resourceTemporarilyUnavailable:
      "raise the limit of threads (pids.max, TasksMax, ulimit -u)"
    case .tooManyOpenFiles: "raise the limit of open files (ulimit -n, LimitNOFILE)"
    case .tooManyOpenFilesInSystem: "raise the machine's limit of open files (fs.file-max)"
    case .noMemory: "raise the memory limit of the process or its cgroup"
    default: "check the limits of the process and its cgroup"
    }
  }
}

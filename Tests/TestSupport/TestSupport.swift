/// Real servers, temporary folders and mounts for tests, demo and benchmarks.
public enum TestSupport {}

// What Swift cannot say: processor instructions, and calls that glibc hides behind _GNU_SOURCE.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/xattr.h>

// CRC32C (Castagnoli, RFC 3720) of `length` bytes, going on from `crc` (0 for the first).
// By instruction where the processor has one, else by table.
uint32_t millrace_crc32c(uint32_t crc, const void *bytes, size_t length);

// CRC-32 (ISO-HDLC, as zlib's) and CRC-64/NVME of `length` bytes, going on from `crc` (0 for the first):
// what object stores say of their objects. Eight bytes a step, by table.
uint32_t millrace_crc32(uint32_t crc, const void *bytes, size_t length);
uint64_t millrace_crc64nvme(uint64_t crc, const void *bytes, size_t length);

// preadv2 with RWF_NOWAIT: bytes that are in the page cache, or -1 with EAGAIN.
ssize_t millrace_pread_nowait(int fd, void *buffer, size_t length, off_t offset);

// syncfs(2), waited for no longer than this. -1 with errno, ETIMEDOUT among others; then the kernel goes on
// writing, and `fd` may be closed.
int millrace_syncfs_within(int fd, int milliseconds);

// Gives a range of a file its blocks, the size unchanged. -1 where the file system cannot.
int millrace_allocate(int fd, off_t offset, off_t length);

// openat2(2), which glibc has no function for. `resolve`: the bits below. O_CLOEXEC is added.
int millrace_openat2(int dirfd, const char *path, int flags, uint64_t resolve);
#define MILLRACE_RESOLVE_NO_MAGICLINKS 0x02u
#define MILLRACE_RESOLVE_NO_SYMLINKS 0x04u
#define MILLRACE_RESOLVE_BENEATH 0x08u

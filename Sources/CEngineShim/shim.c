#define _GNU_SOURCE
#include "CEngineShim.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x00000008
#endif

ssize_t millrace_pread_nowait(int fd, void *buffer, size_t length, off_t offset) {
  struct iovec vector = {buffer, length};
  return preadv2(fd, &vector, 1, offset, RWF_NOWAIT);
}

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

int millrace_syncfs_within(int fd, int milliseconds) {
  if (milliseconds <= 0) {
    errno = ETIMEDOUT;
    return -1;
  }
  // In a process of its own: no signal interrupts syncfs, and a process does not end before its threads do.
  pid_t child = fork();
  if (child < 0) return -1;
  if (child == 0) {
    // Nothing else stays open here: not the lock of the directory, and no pipe that is read to its end.
    if (dup2(fd, 0) < 0) _exit(errno);
    syscall(SYS_close_range, 1, ~0U, 0);
    _exit(syncfs(0) == 0 ? 0 : errno);
  }
  struct timespec now, end;
  clock_gettime(CLOCK_MONOTONIC, &end);
  end.tv_sec += milliseconds / 1000;
  end.tv_nsec += milliseconds % 1000 * 1000000L;
  if (end.tv_nsec >= 1000000000L) end.tv_sec++, end.tv_nsec -= 1000000000L;
  for (struct timespec step = {0, 500000};;) {
    int status;
    pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended < 0 && errno != EINTR) return -1;
    if (ended == child) {
      errno = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
      return errno == 0 ? 0 : -1;
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec > end.tv_sec || (now.tv_sec == end.tv_sec && now.tv_nsec >= end.tv_nsec)) {
      errno = ETIMEDOUT;
      return -1;
    }
    nanosleep(&step, NULL);
    if (step.tv_nsec < 20000000) step.tv_nsec *= 2;
  }
}

int millrace_allocate(int fd, off_t offset, off_t length) {
  return fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, length);
}

#ifndef SYS_openat2
#define SYS_openat2 437
#endif

int millrace_openat2(int dirfd, const char *path, int flags, uint64_t resolve) {
  // struct open_how of linux/openat2.h, which older headers lack.
  struct {
    uint64_t flags, mode, resolve;
  } how = {(uint64_t)(unsigned)flags | O_CLOEXEC, 0, resolve};
  return (int)syscall(SYS_openat2, dirfd, path, &how, sizeof how);
}

static uint32_t table[256];

__attribute__((constructor)) static void fill_table(void) {
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >> 1) ^ 0x82F63B78u : crc >> 1;
    table[byte] = crc;
  }
}

// The instruction takes three cycles to answer and can begin one in each: so three lanes of this many
// bytes are run side by side. What joins them is the checksum of `LANE` zero bytes, as a table.
#define LANE 8192
#define LANE_BITS 13
static uint32_t shifted[4][256];

static uint32_t times(const uint32_t *matrix, uint32_t vector) {
  uint32_t sum = 0;
  for (; vector; vector >>= 1, matrix++) sum ^= vector & 1 ? *matrix : 0;
  return sum;
}

__attribute__((constructor)) static void fill_shifted(void) {
  uint32_t zeros[32], squared[32];
  for (int bit = 0; bit < 32; bit++) {
    uint32_t crc = 1u << bit;
    for (int step = 0; step < 8; step++) crc = crc & 1 ? (crc >> 1) ^ 0x82F63B78u : crc >> 1;
    zeros[bit] = crc;
  }
  for (int round = 0; round < LANE_BITS; round++) {
    for (int bit = 0; bit < 32; bit++) squared[bit] = times(zeros, zeros[bit]);
    memcpy(zeros, squared, sizeof zeros);
  }
  for (uint32_t byte = 0; byte < 256; byte++)
    for (int place = 0; place < 4; place++)
      shifted[place][byte] = times(zeros, byte << (8 * place));
}

// The checksum after `LANE` more bytes that are zero.
static inline uint32_t shift(uint32_t crc) {
  return shifted[0][crc & 0xff] ^ shifted[1][(crc >> 8) & 0xff] ^ shifted[2][(crc >> 16) & 0xff] ^
         shifted[3][crc >> 24];
}

static uint32_t crc_by_table(uint32_t crc, const uint8_t *bytes, size_t length) {
  while (length--) crc = table[(crc ^ *bytes++) & 0xff] ^ (crc >> 8);
  return crc;
}

#if defined(__x86_64__)
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t crc_by_instruction(
    uint32_t crc, const uint8_t *bytes, size_t length) {
  for (; length >= 3 * LANE; length -= 3 * LANE, bytes += 3 * LANE) {
    uint64_t first = crc, second = 0, third = 0;
    for (size_t at = 0; at < LANE; at += 8) {
      uint64_t words[3];
      memcpy(&words[0], bytes + at, 8);
      memcpy(&words[1], bytes + LANE + at, 8);
      memcpy(&words[2], bytes + 2 * LANE + at, 8);
      first = _mm_crc32_u64(first, words[0]);
      second = _mm_crc32_u64(second, words[1]);
      third = _mm_crc32_u64(third, words[2]);
    }
    crc = shift(shift((uint32_t)first) ^ (uint32_t)second) ^ (uint32_t)third;
  }
  uint64_t wide = crc;
  for (; length >= 8; length -= 8, bytes += 8) {
    uint64_t word;
    memcpy(&word, bytes, 8);
    wide = _mm_crc32_u64(wide, word);
  }
  crc = (uint32_t)wide;
  while (length--) crc = _mm_crc32_u8(crc, *bytes++);
  return crc;
}

static int has_instruction(void) { return __builtin_cpu_supports("sse4.2"); }

#elif defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>

__attribute__((target("+crc"))) static uint32_t crc_by_instruction(
    uint32_t crc, const uint8_t *bytes, size_t length) {
  for (; length >= 3 * LANE; length -= 3 * LANE, bytes += 3 * LANE) {
    uint32_t first = crc, second = 0, third = 0;
    for (size_t at = 0; at < LANE; at += 8) {
      uint64_t words[3];
      memcpy(&words[0], bytes + at, 8);
      memcpy(&words[1], bytes + LANE + at, 8);
      memcpy(&words[2], bytes + 2 * LANE + at, 8);
      first = __crc32cd(first, words[0]);
      second = __crc32cd(second, words[1]);
      third = __crc32cd(third, words[2]);
    }
    crc = shift(shift(first) ^ second) ^ third;
  }
  for (; length >= 8; length -= 8, bytes += 8) {
    uint64_t word;
    memcpy(&word, bytes, 8);
    crc = __crc32cd(crc, word);
  }
  while (length--) crc = __crc32cb(crc, *bytes++);
  return crc;
}

static int has_instruction(void) { return (getauxval(AT_HWCAP) >> 7) & 1; }  // HWCAP_CRC32

#else
static uint32_t crc_by_instruction(uint32_t crc, const uint8_t *bytes, size_t length) {
  return crc_by_table(crc, bytes, length);
}

static int has_instruction(void) { return 0; }
#endif

uint32_t millrace_crc32c(uint32_t crc, const void *bytes, size_t length) {
  crc = ~crc;
  return ~(has_instruction() ? crc_by_instruction(crc, bytes, length)
                             : crc_by_table(crc, bytes, length));
}

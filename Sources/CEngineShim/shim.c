#define _GNU_SOURCE
#include "CEngineShim.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x00000008
#endif

ssize_t millrace_pread_nowait(int fd, void *buffer, size_t length, off_t offset) {
  struct iovec vector = {buffer, length};
  return preadv2(fd, &vector, 1, offset, RWF_NOWAIT);
}

int millrace_syncfs(int fd) { return syncfs(fd); }

static uint32_t table[256];

__attribute__((constructor)) static void fill_table(void) {
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >> 1) ^ 0x82F63B78u : crc >> 1;
    table[byte] = crc;
  }
}

static uint32_t crc_by_table(uint32_t crc, const uint8_t *bytes, size_t length) {
  while (length--) crc = table[(crc ^ *bytes++) & 0xff] ^ (crc >> 8);
  return crc;
}

#if defined(__x86_64__)
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t crc_by_instruction(
    uint32_t crc, const uint8_t *bytes, size_t length) {
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

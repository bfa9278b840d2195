// The checksums that object stores keep beside CRC32C, eight bytes a step ("slicing by eight").
#include <string.h>

#include "CEngineShim.h"

static uint32_t tables32[8][256];
static uint64_t tables64[8][256];

__attribute__((constructor)) static void fill_tables(void) {
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t crc32 = byte;
    uint64_t crc64 = byte;
    for (int bit = 0; bit < 8; bit++) {
      crc32 = crc32 & 1 ? (crc32 >> 1) ^ 0xEDB88320u : crc32 >> 1;
      crc64 = crc64 & 1 ? (crc64 >> 1) ^ 0x9A6C9329AC4BC9B5ull : crc64 >> 1;
    }
    tables32[0][byte] = crc32;
    tables64[0][byte] = crc64;
  }
  // tables[n][byte]: the byte followed by n zero bytes.
  for (int n = 1; n < 8; n++) {
    for (int byte = 0; byte < 256; byte++) {
      uint32_t crc32 = tables32[n - 1][byte];
      uint64_t crc64 = tables64[n - 1][byte];
      tables32[n][byte] = tables32[0][crc32 & 0xFF] ^ (crc32 >> 8);
      tables64[n][byte] = tables64[0][crc64 & 0xFF] ^ (crc64 >> 8);
    }
  }
}

static uint64_t word_at(const uint8_t *place) {
  uint64_t word;
  memcpy(&word, place, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  word = __builtin_bswap64(word);
#endif
  return word;
}

uint32_t millrace_crc32(uint32_t crc, const void *bytes, size_t length) {
  const uint8_t *place = bytes;
  crc = ~crc;
  for (; length >= 8; place += 8, length -= 8) {
    uint64_t word = word_at(place) ^ crc;
    crc = 0;
    for (int n = 0; n < 8; n++) crc ^= tables32[7 - n][word >> (8 * n) & 0xFF];
  }
  for (; length > 0; place++, length--) crc = tables32[0][(crc ^ *place) & 0xFF] ^ (crc >> 8);
  return ~crc;
}

uint64_t millrace_crc64nvme(uint64_t crc, const void *bytes, size_t length) {
  const uint8_t *place = bytes;
  crc = ~crc;
  for (; length >= 8; place += 8, length -= 8) {
    uint64_t word = word_at(place) ^ crc;
    crc = 0;
    for (int n = 0; n < 8; n++) crc ^= tables64[7 - n][word >> (8 * n) & 0xFF];
  }
  for (; length > 0; place++, length--) crc = tables64[0][(crc ^ *place) & 0xFF] ^ (crc >> 8);
  return ~crc;
}

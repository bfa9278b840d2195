// Linked into the packaged program alone, so that it needs glibc 2.34 (Red Hat Enterprise Linux 9, Amazon Linux 2023)
// and not the release that it was built on. Three symbols stood in the way:
// - hypot, hypotf: libFoundation.a and libswiftGlibc.a refer to them, and their newest versions are of 2.35. The older
//   ones differ in errno alone, which Swift does not read.
// - arc4random: libstdc++.a's std::random_device refers to it; 2.36.
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

double hypot_2_2_5(double x, double y);
float hypotf_2_2_5(float x, float y);
__asm__(".symver hypot_2_2_5, hypot@GLIBC_2.2.5");
__asm__(".symver hypotf_2_2_5, hypotf@GLIBC_2.2.5");

#define HIDDEN __attribute__((visibility("hidden")))

HIDDEN double hypot(double x, double y) { return hypot_2_2_5(x, y); }

HIDDEN float hypotf(float x, float y) { return hypotf_2_2_5(x, y); }

HIDDEN uint32_t arc4random(void) {
  uint32_t value;
  if (getentropy(&value, sizeof value) != 0) abort();
  return value;
}

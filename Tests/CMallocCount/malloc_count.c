#define _GNU_SOURCE
#include "CMallocCount.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>

// glibc's own names of them. What they return is freed by glibc's free, which stays as it is.
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static _Atomic(const char *) counted_prefix;
static atomic_uint_fast64_t count;

static void note(void) {
  const char *prefix = atomic_load_explicit(&counted_prefix, memory_order_relaxed);
  if (!prefix) return;
  char name[16];
  int saved = errno;
  if (prctl(PR_GET_NAME, name) == 0 && !strncmp(name, prefix, strlen(prefix)))
    atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
  errno = saved;
}

void malloc_count_begin(const char *prefix) {
  atomic_store(&count, 0);
  atomic_store(&counted_prefix, prefix);
}

uint64_t malloc_count_end(void) {
  atomic_store(&counted_prefix, NULL);
  return atomic_load(&count);
}

void *malloc(size_t size) {
  note();
  return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
  note();
  return __libc_calloc(number, size);
}

void *realloc(void *memory, size_t size) {
  note();
  return __libc_realloc(memory, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
  note();
  return __libc_memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size) {
  note();
  void *result = __libc_memalign(alignment, size);
  if (!result) return ENOMEM;
  *memory = result;
  return 0;
}

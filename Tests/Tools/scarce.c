// Preloaded into a program: fails the n-th call from now of what needs a thread or a descriptor, as a full
// machine does. A test holds the numbers, in a file that both map (SCARCE_FILE).
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum { THREADS, EPOLL, EVENTS, SOCKETS, FILES, KINDS };

struct numbers {
  atomic_int armed[KINDS];   // calls that still succeed before one fails; negative: none fails
  atomic_int always[KINDS];  // not 0: each fails
  atomic_int seen[KINDS];
};

static struct numbers *numbers;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("SCARCE_FILE");
  int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
  int file = path ? real(path, O_RDWR | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *map = mmap(NULL, sizeof(struct numbers), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (map != MAP_FAILED) numbers = map;
}

static int fails(int kind) {
  if (!numbers) return 0;
  atomic_fetch_add(&numbers->seen[kind], 1);
  if (atomic_load(&numbers->always[kind])) return 1;
  if (atomic_load(&numbers->armed[kind]) < 0) return 0;
  return atomic_fetch_sub(&numbers->armed[kind], 1) == 0;
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *c) {
  REAL(pthread_create);
  return fails(THREADS) ? EAGAIN : real(t, a, f, c);
}

int epoll_create1(int flags);
int epoll_create1(int flags) {
  REAL(epoll_create1);
  if (!fails(EPOLL)) return real(flags);
  errno = EMFILE;
  return -1;
}

int eventfd(unsigned count, int flags);
int eventfd(unsigned count, int flags) {
  REAL(eventfd);
  if (!fails(EVENTS)) return real(count, flags);
  errno = EMFILE;
  return -1;
}

int socket(int domain, int type, int protocol) {
  REAL(socket);
  if (!fails(SOCKETS)) return real(domain, type, protocol);
  errno = EMFILE;
  return -1;
}

static mode_t mode_of(int flags, va_list list) {
  return flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0;
}

#define OPENS(name)                                  \
  int name(const char *path, int flags, ...) {       \
    REAL(name);                                      \
    va_list list;                                    \
    va_start(list, flags);                           \
    mode_t mode = mode_of(flags, list);              \
    va_end(list);                                    \
    if (!fails(FILES)) return real(path, flags, mode); \
    errno = EMFILE;                                  \
    return -1;                                       \
  }

OPENS(open)
OPENS(open64)

#define OPENS_AT(name)                                       \
  int name(int folder, const char *path, int flags, ...) {   \
    REAL(name);                                              \
    va_list list;                                            \
    va_start(list, flags);                                   \
    mode_t mode = mode_of(flags, list);                      \
    va_end(list);                                            \
    if (!fails(FILES)) return real(folder, path, flags, mode); \
    errno = EMFILE;                                          \
    return -1;                                               \
  }

OPENS_AT(openat)
OPENS_AT(openat64)

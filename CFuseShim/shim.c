#include "CFuseShim.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

struct fuse_session *millrace_session_new(int argc, char **argv,
                                          const struct fuse_lowlevel_ops *operations,
                                          void *userdata) {
  struct fuse_args arguments = FUSE_ARGS_INIT(argc, argv);
  struct fuse_session *session =
      fuse_session_new(&arguments, operations, sizeof(*operations), userdata);
  fuse_opt_free_args(&arguments);
  return session;
}

static millrace_log_handler log_handler;

static void format_line(enum fuse_log_level level, const char *format, va_list arguments) {
  char line[1024];
  vsnprintf(line, sizeof line, format, arguments);
  line[strcspn(line, "\n")] = 0;
  if (line[0]) log_handler((int)level, line);
}

void millrace_route_log(millrace_log_handler handler) {
  log_handler = handler;
  fuse_set_log_func(format_line);
}

// From linux/fuse.h of 6.9, which the headers of the oldest systems we build on do not have.
struct backing_map {
  int32_t fd;
  uint32_t flags;
  uint64_t padding;
};
#define BACKING_OPEN _IOW(229, 1, struct backing_map)
#define BACKING_CLOSE _IOW(229, 2, uint32_t)

int millrace_backing_open(int device, int file) {
  struct backing_map map = {.fd = file};
  int id = ioctl(device, BACKING_OPEN, &map);
  return id < 0 ? -errno : id;
}

int millrace_backing_close(int device, int id) {
  uint32_t value = (uint32_t)id;
  return ioctl(device, BACKING_CLOSE, &value) < 0 ? -errno : 0;
}

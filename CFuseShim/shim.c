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

int millrace_backing_close(int device, int id) {
  uint32_t value = (uint32_t)id;
  return ioctl(device, BACKING_CLOSE, &value) < 0 ? -errno : 0;
}

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)

void millrace_settle_capabilities(struct fuse_conn_info *connection, uint32_t wanted,
                                  uint32_t unwanted) {
  for (int bit = 0; bit < 32; bit++) {
    uint64_t flag = UINT64_C(1) << bit;
    if (unwanted & flag) fuse_unset_feature_flag(connection, flag);
    else if (wanted & flag) fuse_set_feature_flag(connection, flag);
  }
}

bool millrace_is_wanted(const struct fuse_conn_info *connection, uint32_t capability) {
  return connection->want_ext & capability;
}

bool millrace_knows_passthrough(void) { return true; }

bool millrace_want_passthrough(struct fuse_conn_info *connection, uint32_t depth) {
  // libfuse counts what lies under the mount and adds one.
  connection->max_backing_stack_depth = depth - 1;
  return fuse_set_feature_flag(connection, FUSE_CAP_PASSTHROUGH);
}

int millrace_backing_open(fuse_req_t request, int device, int file) {
  (void)device;
  errno = 0;
  int id = fuse_passthrough_open(request, file);
  return id > 0 ? id : -(errno ? errno : EPERM);
}

int millrace_reply_passed_through(fuse_req_t request, uint64_t handle, int id) {
  struct fuse_file_info info = {.fh = handle, .backing_id = id, .noflush = 1};
  return fuse_reply_open(request, &info);
}

#else  // What later versions do, by hand. INIT's part is PassthroughNegotiation.swift.

void millrace_settle_capabilities(struct fuse_conn_info *connection, uint32_t wanted,
                                  uint32_t unwanted) {
  connection->want = (connection->want | wanted) & ~unwanted & connection->capable;
}

bool millrace_is_wanted(const struct fuse_conn_info *connection, uint32_t capability) {
  return connection->want & capability;
}

bool millrace_knows_passthrough(void) { return false; }

bool millrace_want_passthrough(struct fuse_conn_info *connection, uint32_t depth) {
  (void)connection, (void)depth;
  return false;
}

int millrace_backing_open(fuse_req_t request, int device, int file) {
  (void)request;
  struct backing_map map = {.fd = file};
  int id = ioctl(device, BACKING_OPEN, &map);
  return id < 0 ? -errno : id;
}

int millrace_reply_passed_through(fuse_req_t request, uint64_t handle, int id) {
  // struct fuse_open_out with FOPEN_PASSTHROUGH and FOPEN_NOFLUSH.
  struct {
    uint64_t handle;
    uint32_t flags;
    int32_t id;
  } reply = {.handle = handle, .flags = 1 << 7 | 1 << 5, .id = id};
  return fuse_reply_buf(request, (const char *)&reply, sizeof reply);
}

#endif

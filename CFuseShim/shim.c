#include "CFuseShim.h"

#include <stdio.h>
#include <string.h>

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

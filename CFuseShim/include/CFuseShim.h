// What Swift cannot say to libfuse: macros and variadics. Everything with a decision in it is Swift.
#pragma once
#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>
// Not in the Glibc module; what answers getxattr is tested by calling it.
#include <sys/xattr.h>

// Younger than the oldest libfuse this compiles with; an older one ignores the bit.
#ifndef FUSE_CAP_EXPLICIT_INVAL_DATA
#define FUSE_CAP_EXPLICIT_INVAL_DATA (1 << 25)
#endif

/// fuse_session_new, which is a macro since libfuse 3.17. The arguments are copied.
struct fuse_session *millrace_session_new(int argc, char **argv,
                                          const struct fuse_lowlevel_ops *operations,
                                          void *userdata);

/// Receives a formatted line of libfuse's without its newline; called on the thread that logs.
typedef void (*millrace_log_handler)(int level, const char *line);

/// fuse_set_log_func hands over a va_list. Process-wide, like the function itself.
void millrace_route_log(millrace_log_handler handler);

/// ioctl is variadic. Registers an open file with the kernel as one that reads may be passed through
/// to; the id (> 0), or -errno. `device` is the session's descriptor. Linux 6.9, CAP_SYS_ADMIN.
int millrace_backing_open(int device, int file);

/// Gives an id back. Files that are open with it go on.
int millrace_backing_close(int device, int id);

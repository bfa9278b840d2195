// What Swift cannot say to libfuse: macros and variadics. Everything with a decision in it is Swift.
#pragma once
#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>
#include <stdbool.h>
#include <stdint.h>
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

/// Sets and clears FUSE_CAP bits, those alone that the kernel has. libfuse 3.17 refuses a mix of its
/// old field and its new one, so nothing else may write either.
void millrace_settle_capabilities(struct fuse_conn_info *connection, uint32_t wanted,
                                  uint32_t unwanted);

bool millrace_is_wanted(const struct fuse_conn_info *connection, uint32_t capability);

/// Whether this libfuse asks for passthrough by itself (3.17), chosen when this was compiled.
bool millrace_knows_passthrough(void);

/// Within INIT: asks for passthrough to files of a file system that may be stacked `depth` (1 or 2)
/// deep, counted with the mount itself. False: the kernel has none, or libfuse is older than 3.17.
bool millrace_want_passthrough(struct fuse_conn_info *connection, uint32_t depth);

/// Registers an open file with the kernel as one that reads may be passed through to; the id (> 0),
/// or -errno. `device` is the session's descriptor. Linux 6.9, CAP_SYS_ADMIN.
int millrace_backing_open(fuse_req_t request, int device, int file);

/// Gives an id back. Files that are open with it go on. Always the ioctl: fuse_passthrough_close
/// wants a request, and ids are given back when there is none (eviction, unmount).
int millrace_backing_close(int device, int id);

/// Answers OPEN with a backing id.
int millrace_reply_passed_through(fuse_req_t request, uint64_t handle, int id);

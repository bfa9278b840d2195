// What Swift cannot say of a process: variadic calls, and calls that glibc hides behind _GNU_SOURCE.
#pragma once
#include <stddef.h>
#include <sys/types.h>

// The arguments where the kernel shows them in /proc/PID/cmdline; null past the last.
char *millrace_argument(int index);

// prctl(PR_SET_DUMPABLE, 0), its value now, and prctl(PR_SET_NO_NEW_PRIVS). -1 with errno.
int millrace_forbid_dumps(void);
int millrace_dumpable(void);
int millrace_forbid_new_privileges(void);
int millrace_set_thread_name(const char *name);

// A file without a name, closed by an exec. -1 with errno.
int millrace_memory_file(const char *name);

// A descriptor of a process, and a signal to exactly that process. -1 with errno; ENOSYS before Linux 5.3.
int millrace_process_descriptor(pid_t pid);
int millrace_signal_process(int descriptor, int signal);

// Whether an epoll, an eventfd and a timer can be had at this moment. -1 with errno.
int millrace_has_event_descriptors(void);

// SO_PEERCRED: who listens at, or connected to, the other end of a unix socket. -1 with errno.
int millrace_peer_user(int socket, uid_t *user);

// accept4 with SOCK_CLOEXEC and SOCK_NONBLOCK: no child process gets the connection. -1 with errno.
int millrace_accept(int listener);

#define _GNU_SOURCE
#include "CProcessShim.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

static int argument_count;
static char **arguments;

// glibc hands a constructor what main gets.
__attribute__((constructor)) static void keep_arguments(int count, char **values) {
  argument_count = count;
  arguments = values;
}

char *millrace_argument(int index) { return index < argument_count ? arguments[index] : NULL; }

int millrace_forbid_dumps(void) { return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }

int millrace_dumpable(void) { return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0); }

int millrace_forbid_new_privileges(void) { return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); }

int millrace_set_thread_name(const char *name) { return prctl(PR_SET_NAME, name, 0, 0, 0); }

int millrace_memory_file(const char *name) { return memfd_create(name, MFD_CLOEXEC); }

int millrace_process_descriptor(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

int millrace_signal_process(int descriptor, int signal) {
  return (int)syscall(SYS_pidfd_send_signal, descriptor, signal, NULL, 0);
}

int millrace_has_event_descriptors(void) {
  int made[] = {epoll_create1(EPOLL_CLOEXEC), -1, -1};
  if (made[0] >= 0) made[1] = eventfd(0, EFD_CLOEXEC);
  if (made[1] >= 0) made[2] = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
  int error = made[2] < 0 ? errno : 0;
  for (int i = 0; i < 3; i++)
    if (made[i] >= 0) close(made[i]);
  errno = error;
  return error == 0 ? 0 : -1;
}

int millrace_peer_user(int socket, uid_t *user) {
  struct ucred peer;
  socklen_t size = sizeof peer;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return -1;
  *user = peer.uid;
  return 0;
}

int millrace_accept(int listener) { return accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK); }

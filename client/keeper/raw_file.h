// System calls on the keeper's own descriptor table that bypass libc: ThreadSanitizer identifies a
// descriptor by its number, so it would confuse the two tables and report races between them.
//
// Errors as in the calls of these names: -1 and errno.
#pragma once

#include <fcntl.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline int raw_open(const char* path, int flags) {
  return (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0);
}

static inline int raw_close(int fd) { return (int)syscall(SYS_close, fd); }

static inline ssize_t raw_read(int fd, void* buffer, size_t size) {
  return syscall(SYS_read, fd, buffer, size);
}

static inline ssize_t raw_write(int fd, const void* buffer, size_t size) {
  return syscall(SYS_write, fd, buffer, size);
}

static inline int raw_ioctl(int fd, unsigned long code, void* argument) {
  return (int)syscall(SYS_ioctl, fd, code, argument);
}

static inline int raw_fstat(int fd, struct stat* status) {
  return (int)syscall(SYS_newfstatat, fd, "", status, AT_EMPTY_PATH);
}

static inline int raw_epoll_create1(int flags) { return (int)syscall(SYS_epoll_create1, flags); }

static inline int raw_epoll_ctl(int epoll, int op, int fd, struct epoll_event* event) {
  return (int)syscall(SYS_epoll_ctl, epoll, op, fd, event);
}

// Waits without a deadline; keeps the signal mask.
static inline int raw_epoll_wait(int epoll, struct epoll_event* events, int count) {
  return (int)syscall(SYS_epoll_pwait, epoll, events, count, -1, NULL, sizeof(uint64_t));
}

static inline int raw_eventfd(unsigned value, int flags) {
  return (int)syscall(SYS_eventfd2, value, flags);
}

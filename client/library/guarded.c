// Access to memory that may fail: the kernel copies, and returns EFAULT where we would get SIGBUS.
//
// process_vm_readv(2) and writev on ourselves need no permission (a process may always access its
// own memory, whatever yama or dumpable say), no handler and no descriptor. A seccomp filter may
// refuse them; then a pipe does it, with four system calls per page and two temporary descriptors.
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/uio.h>
#include <unistd.h>

#include "client/keeper/client_internal.h"
#include "client/pmemd_client.h"

enum { kPage = 4096 };

// The bytes one call moves. Bounded, so that a signal that ends the process isn't delayed.
static const size_t kPiece = (size_t)64 << 20;

typedef ssize_t (*vm_copy)(pid_t, const struct iovec*, unsigned long, const struct iovec*,
                           unsigned long, unsigned long);

// Any address, which need not be one of memory: so no pointer is moved.
static void* at(const void* base, size_t offset) { return (void*)((uintptr_t)base + offset); }

// `remote` is the side that may fail: there the count is exact to the page.
static int copy_by_vm(vm_copy copy, char* local, char* remote, size_t n, size_t* done) {
  const pid_t pid = getpid();
  while (*done < n) {
    const size_t piece = n - *done < kPiece ? n - *done : kPiece;
    const struct iovec here = {at(local, *done), piece};
    const struct iovec there = {at(remote, *done), piece};
    const ssize_t copied = copy(pid, &here, 1, &there, 1, 0);
    if (copied <= 0) return copied < 0 ? -errno : -EFAULT;
    *done += (size_t)copied;
  }
  return 0;
}

// Bytes up to the next page boundary of either side, so that a piece fails as a whole.
static size_t within_pages(const char* a, const char* b, size_t n) {
  const size_t to_a = kPage - (uintptr_t)a % kPage;
  const size_t to_b = kPage - (uintptr_t)b % kPage;
  const size_t least = to_a < to_b ? to_a : to_b;
  return least < n ? least : n;
}

static int copy_piece_by_pipe(const int ends[2], char* dst, const char* src, size_t n) {
  const ssize_t in = write(ends[1], src, n);
  if (in != (ssize_t)n) return in < 0 ? -errno : -EFAULT;
  const ssize_t out = read(ends[0], dst, n);
  if (out != (ssize_t)n) return out < 0 ? -errno : -EFAULT;
  return 0;
}

int guarded_copy_by_pipe(void* dst, const void* src, size_t n, size_t* done) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return -errno;
  int result = 0;
  while (result == 0 && *done < n) {
    char* const to = at(dst, *done);
    const char* const from = at(src, *done);
    const size_t piece = within_pages(to, from, n - *done);
    result = copy_piece_by_pipe(ends, to, from, piece);
    if (result == 0) *done += piece;
  }
  close(ends[0]);
  close(ends[1]);
  return result;
}

static bool refused(int result) { return result == -EPERM || result == -ENOSYS; }

int pmemd_read_guarded(void* dst, const void* src, size_t n, size_t* done) {
  const int saved = errno;
  size_t copied = 0;
  int result = copy_by_vm(process_vm_readv, dst, (char*)(uintptr_t)src, n, &copied);
  if (refused(result)) result = guarded_copy_by_pipe(dst, src, n, &copied);
  if (done) *done = copied;
  errno = saved;
  return result;
}

int pmemd_write_guarded(void* dst, const void* src, size_t n, size_t* done) {
  const int saved = errno;
  size_t copied = 0;
  int result = copy_by_vm(process_vm_writev, (char*)(uintptr_t)src, dst, n, &copied);
  if (refused(result)) result = guarded_copy_by_pipe(dst, src, n, &copied);
  if (done) *done = copied;
  errno = saved;
  return result;
}

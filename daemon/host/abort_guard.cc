#include "daemon/host/abort_guard.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string>

// glibc 2.36's header has no C++ linkage of its own.
extern "C" {
#include <sys/pidfd.h>
}

namespace pmemd {
namespace {

constexpr int kParentDied = SIGUSR1;  // or the parent requests an abort
constexpr int kTimeoutMs = 5000;      // for its start, and for the abort

constexpr const char* kConnections = "/sys/fs/fuse/connections";

void wait_readable(int fd) {
  pollfd wait{.fd = fd, .events = POLLIN, .revents = 0};
  while (poll(&wait, 1, kTimeoutMs) < 0 && errno == EINTR) {
  }
}

// fusectl's file, writable by the user who mounted.
UniqueFd open_abort_file(dev_t device_number) {
  const std::string path = fmt::format("{}/{}/abort", kConnections, minor(device_number));
  UniqueFd file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (file) return file;
  // Not mounted: mount it where nobody else sees it, and keep only the open file.
  const UniqueFd home(open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC));
  if (!home || unshare(CLONE_NEWNS) != 0) return {};
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
      mount("fusectl", kConnections, "fusectl", 0, nullptr) == 0) {
    file.reset(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  }
  // Staying would keep our copy of every mount.
  if (setns(home.get(), CLONE_NEWNS) != 0) _exit(1);
  return file;
}

[[noreturn]] void run_guard(pid_t parent, int socket) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  prctl(PR_SET_NAME, "pmemd-guard");
  prctl(PR_SET_PDEATHSIG, kParentDied);

  dev_t device_number = 0;  // of the mount, once there is one
  if (read(socket, &device_number, sizeof(device_number)) != sizeof(device_number)) _exit(0);
  UniqueFd abort_file = open_abort_file(device_number);
  // If the parent has died by now, the file may be the next daemon's: device numbers are reused.
  if (getppid() != parent) _exit(1);
  (void)!write(socket, "1", 1);
  // The pool's lock and the sockets are the daemon's alone.
  constexpr int kAbort = 0;
  if (!abort_file || dup2(abort_file.release(), kAbort) < 0) _exit(1);
  close_range(kAbort + 1, ~0U, 0);
  if (chdir("/") != 0) _exit(1);

  sigset_t wanted;
  sigemptyset(&wanted);
  sigaddset(&wanted, kParentDied);
  int signal = 0;
  sigwait(&wanted, &signal);
  (void)!write(kAbort, "1", 1);
  _exit(0);
}

}  // namespace

Result<std::unique_ptr<AbortGuard>> AbortGuard::start() {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return fail_errno("the guard of the mount");
  }
  UniqueFd ours(ends[0]);
  const UniqueFd childs(ends[1]);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) return fail_errno("the guard of the mount can't be started");
  if (child == 0) {
    ours.reset();  // so that the child's read ends when we do
    run_guard(parent, childs.get());
  }
  std::unique_ptr<AbortGuard> guard(
      new AbortGuard(child, UniqueFd(pidfd_open(child, 0)), std::move(ours)));
  if (!guard->pidfd_) return fail_errno("the guard of the mount can't be watched");
  return guard;
}

void AbortGuard::watch(dev_t device_number) {
  if (send(socket_.get(), &device_number, sizeof(device_number), MSG_NOSIGNAL) < 0) return;
  // The child reports that it has the file, or ends; it must not look for it after we may be gone.
  wait_readable(socket_.get());
  socket_.reset();
}

void AbortGuard::abort() const {
  kill(child_, kParentDied);
  wait_readable(pidfd_.get());
}

AbortGuard::~AbortGuard() {
  kill(child_, SIGKILL);
  while (waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace pmemd

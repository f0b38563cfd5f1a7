#include "daemon/abort_guard.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "core/base/unique_fd.h"
#include "daemon/mount_point.h"

namespace pmemd {
namespace {

constexpr int kParentDied = SIGUSR1;

// fusectl's file, writable by who mounted; -1 where fusectl isn't mounted.
UniqueFd open_abort_file(dev_t device_number) {
  const std::string path = fmt::format("/sys/fs/fuse/connections/{}/abort", minor(device_number));
  return UniqueFd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
}

// A forced unmount aborts the connection first, and then fails because we are in its way: programs
// must see a dead mount, not the directory below it. Another daemon may have taken it over since.
void abort_by_unmount(const std::string& mount_point, dev_t device_number) {
  const UniqueFd busy(open(mount_point.c_str(), O_PATH | O_CLOEXEC));
  const auto mount = find_mount(mount_point);
  if (busy && mount && mount->device_number == device_number) {
    umount2(mount_point.c_str(), MNT_FORCE | UMOUNT_NOFOLLOW);
  }
}

[[noreturn]] void run_guard(const std::string& mount_point, dev_t device_number, pid_t parent) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  prctl(PR_SET_NAME, "pmemd-guard");
  prctl(PR_SET_PDEATHSIG, kParentDied);

  // The pool's lock and the socket are the daemon's alone.
  constexpr int kAbort = 0;
  {
    const UniqueFd abort_file = open_abort_file(device_number);
    close(kAbort);
    if (abort_file) dup2(abort_file.get(), kAbort);
  }
  close_range(kAbort + 1, ~0U, 0);
  if (chdir("/") != 0) _exit(1);

  sigset_t wanted;
  sigemptyset(&wanted);
  sigaddset(&wanted, kParentDied);
  int signal = 0;
  if (getppid() == parent) sigwait(&wanted, &signal);
  if (write(kAbort, "1", 1) != 1) abort_by_unmount(mount_point, device_number);
  _exit(0);
}

}  // namespace

Result<std::unique_ptr<AbortGuard>> AbortGuard::start(const std::string& mount_point,
                                                      dev_t device_number) {
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) return fail_errno("the guard of the mount can't be started");
  if (child == 0) run_guard(mount_point, device_number, parent);
  return std::unique_ptr<AbortGuard>(new AbortGuard(child));
}

AbortGuard::~AbortGuard() {
  kill(child_, SIGKILL);
  while (waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace pmemd

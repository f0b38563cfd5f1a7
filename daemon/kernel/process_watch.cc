#include "daemon/kernel/process_watch.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <array>
#include <fstream>
#include <string>
#include <utility>

#include "core/base/memory.h"

// glibc 2.36's header has no C++ linkage of its own.
extern "C" {
#include <sys/pidfd.h>
}

namespace pmemd {
namespace {

constexpr uint64_t kStop = 0;  // else a pid

// ENOMEM: also if the kernel has no watch left for our user (fs.epoll.max_user_watches).
Result<void> epoll_add(int epoll, int fd, uint64_t what) {
  epoll_event event{.events = EPOLLIN, .data = {.u64 = what}};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0) return {};
  return fail(errno == ENOSPC ? ENOMEM : errno);
}

}  // namespace

ProcessWatch::ProcessWatch(UserBudget& budget, std::function<void(pid_t)> on_exit)
    : budget_(budget),
      on_exit_(std::move(on_exit)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      stop_(eventfd(0, EFD_CLOEXEC)),
      thread_([this] { run(); }) {}

ProcessWatch::~ProcessWatch() {
  eventfd_write(stop_.get(), 1);
  thread_.join();
}

Result<void> ProcessWatch::add(pid_t pid, uid_t uid) {
  if (pid <= 0) return fail(ESRCH);
  MutexLock lock(mutex_);
  if (watched_.contains(pid)) return {};
  auto charge = budget_.charge(uid);
  if (!charge) return fail(ENOMEM, fmt::format("user {} has too many processes watched", uid));
  UniqueFd pidfd(pidfd_open(pid, 0));
  if (!pidfd) {
    // EINVAL: a thread that isn't a process's leader. EMFILE would mean the caller's own table.
    if (errno == EMFILE || errno == ENFILE) return fail(ENOMEM);
    return fail(errno == EINVAL ? ESRCH : errno);
  }
  PMEMD_TRY(epoll_add(epoll_.get(), pidfd.get(), static_cast<uint64_t>(pid)));
  watched_.emplace(pid, Watched{std::move(pidfd), *std::move(charge)});
  return {};
}

bool ProcessWatch::watches(pid_t pid) const {
  MutexLock lock(mutex_);
  return watched_.contains(pid);
}

void ProcessWatch::run() {
  pthread_setname_np(pthread_self(), "process-watch");
  (void)epoll_add(epoll_.get(), stop_.get(), kStop);
  std::array<epoll_event, 16> events{};
  while (true) {
    const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      const uint64_t what = events.at(static_cast<size_t>(i)).data.u64;
      if (what == kStop) return;
      ended(static_cast<pid_t>(what));
    }
  }
}

void ProcessWatch::ended(pid_t pid) {
  const MustAllocate nobody_tells_again;
  {
    MutexLock lock(mutex_);
    watched_.erase(pid);  // the close takes it out of the epoll set
  }
  on_exit_(pid);
}

Result<pid_t> process_of(pid_t thread) {
  std::ifstream status(fmt::format("/proc/{}/status", thread));
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("Tgid:")) return static_cast<pid_t>(std::stol(line.substr(5)));
  }
  if (status.bad()) return fail_no_memory();  // a stream swallows the exception
  return fail(ESRCH);
}

}  // namespace pmemd

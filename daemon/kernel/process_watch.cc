#include "daemon/kernel/process_watch.h"

#include <fmt/format.h>
#include <sys/epoll.h>

#include <array>
#include <fstream>
#include <span>
#include <string>
#include <utility>

#include "core/base/memory.h"

// glibc 2.36's header has no C++ linkage of its own.
extern "C" {
#include <sys/pidfd.h>
}

namespace pmemd {
namespace {

// ENOMEM: also if the kernel has no watch left for our user (fs.epoll.max_user_watches).
Result<void> epoll_add(int epoll, int fd, pid_t pid) {
  epoll_event event{.events = EPOLLIN, .data = {.fd = pid}};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0) return {};
  return fail(errno == ENOSPC ? ENOMEM : errno);
}

}  // namespace

ProcessWatch::ProcessWatch(UserBudget& budget, std::function<void(pid_t)> on_exit)
    : budget_(budget), on_exit_(std::move(on_exit)), epoll_(epoll_create1(EPOLL_CLOEXEC)) {}

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
  PMEMD_TRY(epoll_add(epoll_.get(), pidfd.get(), pid));
  watched_.emplace(pid, Watched{std::move(pidfd), *std::move(charge)});
  return {};
}

bool ProcessWatch::watches(pid_t pid) const {
  MutexLock lock(mutex_);
  return watched_.contains(pid);
}

void ProcessWatch::dispatch() {
  std::array<epoll_event, 16> events{};
  int count = 0;
  while ((count = epoll_wait(epoll_.get(), events.data(), events.size(), 0)) > 0) {
    for (const epoll_event& event : std::span(events).first(static_cast<size_t>(count))) {
      ended(event.data.fd);
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

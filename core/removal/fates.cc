#include "core/removal/fates.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include <csignal>
#include <cstring>
#include <optional>
#include <string>
#include <tuple>

// glibc 2.36's header has no C++ linkage of its own.
extern "C" {
#include <sys/pidfd.h>
}

namespace pmemd {
namespace {

// include/uapi/linux/pidfd.h PIDFD_GET_INFO @v6.15, which Debian 12's headers don't have.
constexpr uint64_t kPidfdInfoExit = 1U << 3;
struct PidfdInfo {
  uint64_t mask, cgroupid;
  uint32_t pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
  int32_t exit_code;
};
constexpr unsigned long kPidfdGetInfo = _IOWR(0xff, 11, PidfdInfo);

std::pair<pid_t, uint64_t> process_of(const Holder& holder) { return {holder.pid, holder.started}; }
using Key = std::tuple<pid_t, uint64_t, std::string>;
Key key_of(const Holder& holder) { return {holder.pid, holder.started, holder.kernel}; }

// The kernel's hold on a file outlives the process that opened it.
bool is_process(const Holder& holder) { return holder.kernel.empty() || holder.started != 0; }

// A wait status: "SIGBUS", "exit 3".
std::string text_of_status(int status) {
  if (!WIFSIGNALED(status)) return fmt::format("exit {}", WEXITSTATUS(status));
  const char* const name = sigabbrev_np(WTERMSIG(status));
  return name == nullptr ? fmt::format("signal {}", WTERMSIG(status)) : fmt::format("SIG{}", name);
}

bool has_ended(int pidfd) {
  pollfd ready = {.fd = pidfd, .events = POLLIN, .revents = 0};
  return poll(&ready, 1, 0) == 1;
}

// How a process that has ended did so. None: the kernel doesn't tell.
std::optional<int> status_of(int pidfd, const Holder& holder) {
  PidfdInfo info = {};
  info.mask = kPidfdInfoExit;
  if (ioctl(pidfd, kPidfdGetInfo, &info) == 0 && (info.mask & kPidfdInfoExit) != 0) {
    return info.exit_code;  // it was reaped
  }
  const auto stat = process_stat(holder.pid);
  if (stat && stat->started == holder.started && stat->state == 'Z') return stat->exit_code;
  return {};
}

}  // namespace

void join_looks(std::vector<Holder>& all, std::vector<Holder> now) {
  std::multimap<Key, size_t> known;
  for (size_t i = 0; i < all.size(); ++i) {
    known.emplace(key_of(all[i]), i);
    all[i].fate = Holder::Fate::kLetGo;
  }
  for (Holder& holder : now) {
    const auto found = known.find(key_of(holder));
    if (found == known.end()) {
      all.push_back(std::move(holder));
      continue;
    }
    Holder& before = all[found->second];
    known.erase(found);
    if (holder.mappings.empty() && !before.mappings.empty()) continue;
    before = std::move(holder);
  }
}

void ProcessFates::watch(const std::vector<Holder>& holders) {
  for (const Holder& holder : holders) {
    if (!is_process(holder)) continue;
    const auto [watched, is_new] = watched_.try_emplace(process_of(holder));
    if (!is_new) continue;
    watched->second.reset(pidfd_open(holder.pid, 0));
    // Between the look and the open the pid may have been reused.
    const auto stat = process_stat(holder.pid);
    if (!stat || stat->started != holder.started) watched->second.reset();
  }
}

void ProcessFates::tell(std::vector<Holder>& holders) const {
  for (Holder& holder : holders) {
    const auto watched = watched_.find(process_of(holder));
    if (watched == watched_.end()) continue;
    const int pidfd = watched->second.get();
    if (watched->second && !has_ended(pidfd)) continue;
    if (!watched->second) {  // it had ended, or no descriptor was left
      const auto stat = process_stat(holder.pid);
      if (stat && stat->started == holder.started && stat->state != 'Z') continue;
    }
    holder.fate = Holder::Fate::kEnded;
    if (const auto status = status_of(pidfd, holder)) holder.ended_by = text_of_status(*status);
  }
}

}  // namespace pmemd

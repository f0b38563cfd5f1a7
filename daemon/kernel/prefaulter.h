// Reads files of our own mount ahead, into the kernel's page cache: what was asked for (pmemctl
// prefault), and what is touched page by page (daemon/kernel/hot_ranges.h).
//
// By readahead on a descriptor of the daemon's own, not by notify_store: that one overwrites pages
// that are there, so a store of a mapping that comes in between would be lost. A readahead only
// fills in what is missing, through READs like any other: they are admitted, refused where memory
// is bad or dying, and lent. Readahead waits for READs, so it never runs in a thread that serves
// them.
//
// Invariants:
//  1. At most kStepBytes are under way for a range that nobody has asked for, kMaxQueued such
//     ranges wait, as many that somebody has asked for, and none is begun while the host is short
//     of memory.
//  2. No descriptor stays open when nothing is left to do: an unlinked file's space isn't held up.
//
// Thread contract: read_ahead_later(), is_own_thread() from any thread; prefault() from any but
// those that serve requests. Destruction: nobody calls any more, and READs are still answered.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "core/base/mutex.h"
#include "core/base/unique_fd.h"
#include "core/base/units.h"
#include "core/range/range.h"
#include "daemon/host/host_memory.h"

namespace pmemd {

class Prefaulter {
 public:
  static constexpr size_t kMaxQueued = 64;
  static constexpr uint64_t kStepBytes = 2 * kMiB;  // between two looks at anything else

  struct Ports {
    // A descriptor of the inode in the mount; empty, and errno, if there is none. `path`: from the
    // mount's root, where it is known. Called in our thread.
    std::function<UniqueFd(uint64_t ino, const std::string& path)> open;
    std::function<Result<HostMemory>()> memory = host_memory;
    // What one call of readahead takes at most: the mount's read_ahead_kb. In our thread.
    std::function<uint64_t()> window_bytes = [] { return 128 * kKiB; };
  };

  explicit Prefaulter(Ports ports);
  ~Prefaulter();
  Prefaulter(const Prefaulter&) = delete;
  Prefaulter& operator=(const Prefaulter&) = delete;

  struct Wanted {
    uint64_t ino = 0;
    FileRange range = {};
    std::string path = {};  // from the mount's root; empty: not known
  };
  // Not, if too much waits already, or the host is short of memory when it comes to it.
  void read_ahead_later(Wanted wanted) PMEMD_EXCLUDES(mutex_);

  // Returns when the range is in the page cache: how many of its bytes are in steps of which
  // something could not be read. ENOMEM: the host would have less than `keep_free_bytes` left;
  // what was read until then stays. ETIMEDOUT: it goes on without us. ENOENT, EPERM, ...: the inode
  // can't be opened; EWOULDBLOCK: it has a lease. EBUSY: too much waits already. ECANCELED: the
  // end.
  Result<uint64_t> prefault(Wanted wanted, uint64_t keep_free_bytes) PMEMD_EXCLUDES(mutex_);

  // What the host always keeps, if nobody says else: a tenth of its memory.
  static uint64_t reserve_of(const HostMemory& memory) { return memory.total_bytes / 10; }

  // Our opens are let in and not counted, as the notifier's.
  bool is_own_thread(pid_t tid) const { return tid == tid_.load(std::memory_order_relaxed); }

  struct Stats {
    uint64_t hot_ranges = 0;  // read ahead because they were touched
    uint64_t dropped = 0;     // not, for lack of room or memory
  };
  Stats stats() const {
    return {hot_ranges_.load(std::memory_order_relaxed), dropped_.load(std::memory_order_relaxed)};
  }

 private:
  struct Job {
    Wanted wanted;
    std::optional<uint64_t> keep_free_bytes = {};
    // shared: who waits may give up first. Empty: nobody does.
    std::shared_ptr<std::promise<Result<uint64_t>>> done;
  };

  void run() PMEMD_EXCLUDES(mutex_);
  // The next one, if there is one now; or waits for it. Nothing: there is none; or the end.
  std::optional<Job> next(bool waits) PMEMD_EXCLUDES(mutex_);
  Result<uint64_t> work(const Job& job);
  Result<void> check_memory(const Job& job, FileRange step) const;
  Result<void> open(const Wanted& wanted);
  void advise(FileRange step) const;
  uint64_t wait(FileRange step) const;

  const Ports ports_;
  std::atomic<pid_t> tid_ = 0;
  std::atomic<uint64_t> hot_ranges_ = 0;
  std::atomic<uint64_t> dropped_ = 0;

  // Our thread's alone: the file that the last job was about.
  uint64_t open_ino_ = 0;
  UniqueFd open_fd_;
  uint64_t window_bytes_ = 0;

  Mutex mutex_;
  CondVar work_cv_;
  std::deque<Job> queue_ PMEMD_GUARDED_BY(mutex_);
  std::atomic<bool> stop_ = false;  // set under mutex_
  std::thread thread_;
};

}  // namespace pmemd

// Reads files of our own mount ahead, into the kernel's page cache: on request (pmemctl prefault),
// and where they are touched page by page (daemon/kernel/hot_ranges.h).
//
// It uses readahead on a descriptor of its own, not notify_store, which overwrites pages that are
// present, so a store of a mapping that comes in between would be lost. A readahead only fills in
// what is missing, through ordinary READs: they are admitted, refused where memory is bad or dying,
// and lent. Readahead waits for READs, so it never runs in a thread that serves them.
//
// Invariants:
//  1. At most kStepBytes are in flight for a range that nobody asked for, at most kMaxQueued such
//     ranges wait, and as many that somebody asked for; none is begun while the host is short of
//     memory.
//  2. No descriptor stays open when nothing is left to do: an unlinked file's space isn't held up.
//
// Thread contract: read_ahead_later(), is_own_thread() from any thread; prefault() from any but
// those that serve requests; stop() while READs are still answered.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "core/base/unique_fd.h"
#include "core/base/units.h"
#include "core/base/worker.h"
#include "core/range/range.h"
#include "daemon/host/host_memory.h"

namespace pmemd {

class Prefaulter {
 public:
  static constexpr size_t kMaxQueued = 64;
  static constexpr uint64_t kStepBytes = 2 * kMiB;  // between two checks for other work

  struct Ports {
    // Opens the inode in the mount; on failure empty, with errno. `path`: from the mount's root, if
    // it is known. Called in our thread.
    std::function<UniqueFd(uint64_t ino, const std::string& path)> open;
    std::function<Result<HostMemory>()> memory = host_memory;
    // The most that one call of readahead reads: the mount's read_ahead_kb. Called in our thread.
    std::function<uint64_t()> window_bytes = [] { return 128 * kKiB; };
  };

  explicit Prefaulter(Ports ports) : ports_(std::move(ports)) {}
  ~Prefaulter() { stop_ = true; }
  Prefaulter(const Prefaulter&) = delete;
  Prefaulter& operator=(const Prefaulter&) = delete;

  struct Wanted {
    uint64_t ino = 0;
    FileRange range = {};
    std::string path = {};  // from the mount's root; empty: not known
  };
  // Drops it if too much is waiting already, or if the host is short of memory when its turn comes.
  void read_ahead_later(Wanted wanted);

  // Returns when the range is in the page cache: the number of bytes in steps of which some part
  // could not be read. ENOMEM: the host would have less than `keep_free_bytes` left; what was read
  // before that stays. ETIMEDOUT: it goes on without us. ENOENT, EPERM, ...: the inode can't be
  // opened; EWOULDBLOCK: it has a lease. EBUSY: too much is waiting already. ECANCELED: stopped.
  Result<uint64_t> prefault(Wanted wanted, uint64_t keep_free_bytes);

  // Nothing is read ahead any more: what waits is ECANCELED. Returns when no file is open, or after
  // a minute.
  void stop();

  // What the host keeps by default: a tenth of its memory.
  static uint64_t reserve_of(const HostMemory& memory) { return memory.total_bytes / 10; }

  // Our opens are always admitted and never counted, like the notifier's.
  bool is_own_thread(pid_t tid) const { return worker_.is_own_thread(tid); }

  struct Stats {
    uint64_t hot_ranges = 0;  // read ahead because they were touched
    uint64_t dropped = 0;     // dropped for lack of room or memory
  };
  Stats stats() const {
    return {hot_ranges_.load(std::memory_order_relaxed), dropped_.load(std::memory_order_relaxed)};
  }

 private:
  // False: `most` wait already. If it is true, our thread calls begin().
  bool may_wait(size_t most);
  // --- in our thread
  void begin() { --waiting_; }
  void end();
  // `keep_free_bytes`: what the host keeps; nothing: its reserve.
  Result<uint64_t> work(const Wanted& wanted, std::optional<uint64_t> keep_free_bytes);
  Result<void> check_memory(std::optional<uint64_t> keep_free_bytes, FileRange step) const;
  Result<void> open(const Wanted& wanted);
  void advise(FileRange step) const;
  uint64_t wait(FileRange step) const;

  const Ports ports_;
  std::atomic<size_t> waiting_ = 0;  // jobs that haven't begun
  std::atomic<bool> stop_ = false;
  std::atomic<uint64_t> hot_ranges_ = 0;
  std::atomic<uint64_t> dropped_ = 0;

  // Only for our thread: the file of the last job.
  uint64_t open_ino_ = 0;
  UniqueFd open_fd_;
  uint64_t window_bytes_ = 0;

  Worker worker_{"prefault"};  // last: it uses the others
};

}  // namespace pmemd

// Errors that wait for their moment: the n-th request that reads or writes a range, or a time.
//
// A read that sets one off meets it, and fails. A write completes before its memory goes bad, since
// otherwise it would make the memory good again. Pages in the page cache are read and stored to
// without a request, so only the kernel's requests count.
//
// Invariants:
//  1. Each goes off once, or is disarmed.
//  2. At most kMaxArmed: arming can't make us allocate without a limit. They end with the daemon.
//  3. While nothing is armed, a request costs one load.
//
// Thread contract: any thread; on_access() inside a request: it may write to the database, but
// doesn't block otherwise. A worker sets off those that wait for a time. No lock is held while an
// error goes off.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "core/base/worker.h"
#include "core/media/media_observer.h"
#include "core/poison/poison.h"

namespace pmemd {

struct ArmedError {
  uint64_t device_ino = 0;  // the root inode of its device
  DataRanges ranges;
  InjectOptions options;
  std::optional<MediaAccess> on;                   // nullopt: any access
  uint64_t nth = 1;                                // how many accesses to a range are left
  std::optional<std::chrono::milliseconds> after;  // instead of accesses
  Deadline deadline = {};                          // of `after`; set by arm()
};

class ArmedErrors {
 public:
  static constexpr size_t kMaxArmed = 1024;

  // `findings`: told of errors that a request meets at once.
  ArmedErrors(FailurePorts ports, MediaObserver& findings, Worker& worker);
  ~ArmedErrors();  // drops armed errors
  ArmedErrors(const ArmedErrors&) = delete;
  ArmedErrors& operator=(const ArmedErrors&) = delete;

  // EINVAL: no range, or nth is 0. ENOSPC: kMaxArmed are armed.
  Result<void> arm(ArmedError error) PMEMD_EXCLUDES(mutex_);
  // Disarms the device's errors that touch one of the ranges; returns how many.
  uint64_t disarm(const Device& device, const DataRanges& ranges) PMEMD_EXCLUDES(mutex_);
  std::vector<ArmedError> list(const Device& device) const PMEMD_EXCLUDES(mutex_);

  void on_access(uint64_t device_ino, DataRange range, MediaAccess access) {
    if (count_.load(std::memory_order_acquire) != 0) count_access(device_ino, range, access);
  }

 private:
  void count_access(uint64_t device_ino, DataRange range, MediaAccess access)
      PMEMD_EXCLUDES(mutex_);
  // Has the worker set off what is due then; max(): nothing is.
  void set_off_at(Deadline deadline);
  void set_off_due() PMEMD_EXCLUDES(mutex_);
  void go_off(Device& device, const ArmedError& error, bool in_request);

  const FailurePorts ports_;
  MediaObserver& findings_;
  Worker& worker_;

  mutable Mutex mutex_;
  std::vector<ArmedError> armed_ PMEMD_GUARDED_BY(mutex_);
  std::atomic<size_t> count_ = 0;  // of those that wait for accesses
};

}  // namespace pmemd

// A device's memory as its holder knows it, and how the holder is told that a range of it failed.
//
// A failure goes up the chain of holders. Each translates the ranges into its own coordinates and
// passes them on: a volume to the device that it makes, a file system to its files. The result is a
// list of file ranges; no holder gets a range that isn't its own.
//
// Invariants:
//  1. A holder is called only while it is set and the device is alive.
//  2. drop_holder() and set_alive(false) return when no call is in progress.
//  3. A holder is told once per failure, of all its ranges.
//
// Thread contract: any thread that serves no requests. The holder is called without a lock held.
// Models: drivers/dax/super.c dax_holder_notify_failure(), fs_dax_get_by_bdev(), fs_put_dax(),
// kill_dax(), drivers/nvdimm/pmem.c pmem_pagemap_memory_failure() @v6.12; differs: several
// ranges; one that is partly outside of the device is clipped, one wholly outside is -ENXIO for
// every holder.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/base/error.h"
#include "core/base/srcu.h"
#include "core/pagemap/failed_part.h"
#include "core/range/range.h"

namespace pmemd {

class DaxHolder {
 public:
  virtual ~DaxHolder() = default;
  // Adds the holder's parts that lie in `ranges`. EOPNOTSUPP: it can't tell (no reverse map).
  virtual Result<void> notify_failure(const DataRanges& ranges, unsigned mf_flags,
                                      FailedParts& parts) = 0;
};

class DaxDevice {
 public:
  // Of whatever size.
  static constexpr DataRange kWholeDevice = {0, UINT64_MAX};

  explicit DaxDevice(uint64_t size_bytes) : size_bytes_(size_bytes) {}
  DaxDevice(const DaxDevice&) = delete;
  DaxDevice& operator=(const DaxDevice&) = delete;

  uint64_t size_bytes() const { return size_bytes_; }

  // EBUSY: it has another holder.
  Result<void> set_holder(DaxHolder& holder);
  void drop_holder();  // not from within a call
  bool has_holder() const { return holder_.load(std::memory_order_acquire) != nullptr; }

  // False: returns when no call is in progress.
  void set_alive(bool alive);

  // ENXIO: not alive, or a range is empty or wholly outside. EOPNOTSUPP: no holder, or it can't
  // tell. Other errors are the holder's.
  Result<void> notify_failure(const DataRanges& ranges, unsigned mf_flags,
                              FailedParts& parts) const;

 private:
  void wait_for_calls();

  const uint64_t size_bytes_;
  std::atomic<bool> alive_ = false;
  std::atomic<DaxHolder*> holder_ = nullptr;
  mutable Srcu srcu_;
};

}  // namespace pmemd

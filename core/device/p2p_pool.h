// A pool of a device's memory, from which buffers are taken and returned.
//
// A buffer is a range of the pool's one file. It belongs to the handle and the process that took
// it, and returns when the first of them ends, or when it is freed. Until then it holds one
// reference of the pagemap for each of its pages, taken in one step: a removal waits for it.
//
//   alloc() ──▶ out ──begin_return…()──▶ returning ──finish_return()──▶ free
//
// A returning buffer has no owner and can't be read, but the page cache may still have its pages,
// and a request its bytes. The caller of begin_return…() makes sure that the kernel has dropped the
// pages and that earlier requests have ended, and then calls finish_return(). This zeroes the
// buffer, puts its references, and only then lets it be taken again.
//
// Invariants:
//  1. References of the pagemap = pages of buffers that are out or returning.
//  2. Buffers never overlap; a byte of one is never seen in another.
//  3. A range that can't be zeroed isn't used again while the device is attached.
//
// The caller bounds the number of buffers (core/base/user_budget.h); a buffer keeps its charge.
//
// Thread contract: any thread, except attach() and detach(), which are the owner's. The store is
// used without the lock.
// Models: drivers/pci/p2pdma.c pci_alloc_p2pmem(), pci_free_p2pmem(), p2pmem_alloc_mmap(),
// p2pdma_page_free() @v6.12; differs: a buffer is zeroed when it returns (the kernel leaves that to
// its next user), has an owner, and is taken and returned as a whole.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "core/base/units.h"
#include "core/base/user_budget.h"
#include "core/device/byte_store.h"
#include "core/percpu/percpu_ref.h"
#include "core/range/range_set.h"

namespace pmemd {

struct P2pBuffer {
  uint64_t id = 0;  // never 0, never used again
  FileRange range = {};
  uint64_t handle = 0;
  pid_t pid = 0;
  std::chrono::system_clock::time_point since = {};
  bool is_returning = false;
};

class P2pPool {
 public:
  P2pPool(std::string name, uint64_t size_bytes)
      : name_(std::move(name)), size_bytes_(size_bytes) {}
  P2pPool(const P2pPool&) = delete;
  P2pPool& operator=(const P2pPool&) = delete;
  ~P2pPool();  // asserts: detached

  // Gives it memory, all zeros, and a registered pagemap's ref. Asserts: it has none.
  void attach(PercpuRef& ref, ByteStore& memory) PMEMD_EXCLUDES(mutex_);
  // Asserts: no buffer is out or returning.
  void detach() PMEMD_EXCLUDES(mutex_);

  // Takes a buffer of zeros; returns its range. EINVAL: empty, not whole pages, or larger than the
  // pool.
  // ENXIO: no device, or it was killed. ENOMEM: no free range of that length.
  // ENOSPC: the host has no room for it. EIO.
  Result<FileRange> alloc(uint64_t handle, pid_t pid, uint64_t length,
                          UserBudget::Charge charge = {}) PMEMD_EXCLUDES(mutex_);

  // Whether every byte of the range is in a buffer that is out. (The empty range is.)
  bool contains(FileRange range) const PMEMD_EXCLUDES(mutex_);

  // From out to returning; the last three return how many buffers.
  // ENOENT: the handle has no buffer that begins there (a removal may have taken it).
  Result<void> begin_return(uint64_t handle, uint64_t offset) PMEMD_EXCLUDES(mutex_);
  uint64_t begin_return_of_handle(uint64_t handle) PMEMD_EXCLUDES(mutex_);
  uint64_t begin_return_of_process(pid_t pid) PMEMD_EXCLUDES(mutex_);
  uint64_t begin_return_of_all() PMEMD_EXCLUDES(mutex_);
  // Buffers that wait for finish_return() now.
  std::vector<P2pBuffer> returning() const PMEMD_EXCLUDES(mutex_);
  // From returning to free. An id that isn't returning (somebody was faster) is ignored.
  // EIO, ENOSPC: it could not be zeroed; its references were put, its range is lost until the next
  // attach().
  Result<void> finish_return(uint64_t id) PMEMD_EXCLUDES(mutex_);

  // Waits until no buffer is out or returning. False if the deadline passes first, or after
  // interrupt(), which ends all waits at once, for good.
  [[nodiscard]] bool wait_empty(Deadline deadline) PMEMD_EXCLUDES(mutex_);
  // The same, if no buffer is out: the wait is short, and isn't interrupted.
  [[nodiscard]] bool wait_returned(Deadline deadline) PMEMD_EXCLUDES(mutex_);
  void interrupt() PMEMD_EXCLUDES(mutex_);

  struct Counts {
    uint64_t buffers = 0;  // out or returning
    uint64_t pages = 0;    // of these
    uint64_t free_bytes = 0;
    uint64_t lost_bytes = 0;  // could not be zeroed
  };
  Counts counts() const PMEMD_EXCLUDES(mutex_);
  // Out or returning, in the order in which they were taken.
  std::vector<P2pBuffer> list() const PMEMD_EXCLUDES(mutex_);

 private:
  struct Buffer {
    P2pBuffer buffer;
    UserBudget::Charge charge;
    bool is_finishing = false;  // some thread is in finish_return()
  };

  // Takes the first free range of that length, and its references.
  Result<FileRange> take(uint64_t length, ByteStore*& memory) PMEMD_EXCLUDES(mutex_);
  // Frees the range and puts its references. Not `clean`: it isn't used again.
  void give_back(FileRange range, bool clean) PMEMD_EXCLUDES(mutex_);
  bool wait(Deadline deadline, bool interruptible) PMEMD_EXCLUDES(mutex_);
  uint64_t begin_return_if(const std::function<bool(const P2pBuffer&)>& wanted)
      PMEMD_EXCLUDES(mutex_);

  const std::string name_;
  const uint64_t size_bytes_;

  mutable Mutex mutex_;
  CondVar changed_cv_;
  PercpuRef* ref_ PMEMD_GUARDED_BY(mutex_) = nullptr;
  ByteStore* memory_ PMEMD_GUARDED_BY(mutex_) = nullptr;
  uint64_t next_id_ PMEMD_GUARDED_BY(mutex_) = 1;
  bool interrupted_ PMEMD_GUARDED_BY(mutex_) = false;
  RangeSet<FileSpace> free_ PMEMD_GUARDED_BY(mutex_);
  RangeSet<FileSpace> out_ PMEMD_GUARDED_BY(mutex_);
  std::map<uint64_t, Buffer> buffers_ PMEMD_GUARDED_BY(mutex_);  // by id
  uint64_t taken_bytes_ PMEMD_GUARDED_BY(mutex_) = 0;            // not in free_, not lost
};

}  // namespace pmemd

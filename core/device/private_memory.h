// Device-private memory: ordinary memory of a file, whose pages can move to a device that the CPU
// can't reach, and come back when the CPU touches them.
//
// Each page of the file is in system memory, or on the device, or *migrating*: in system memory
// still, on its way. A page on the device takes one page of the device's, allocated when it comes;
// each of those holds one reference of the pagemap.
//
// A migration goes against the kernel's page cache, which knows nothing of us:
//
//   begin_migrate(range)   marks the range's pages that are in system memory as migrating
//   flush, inval(range)    by the notifier, while requests are served: the kernel writes back what
//                          was stored, and drops its pages
//   finish_migrate()       what is still migrating is copied to the device
//
// Whoever touches a page meanwhile (a READ, or a WRITE that isn't writeback) takes it back to
// system memory, so that its migration fails, as migrate_vma_setup() leaves out what it couldn't
// isolate: the kernel may have that page again. A writeback is the flush's own: it goes to system
// memory, the page stays on its way. So when finish_migrate() copies a page, the inval was there
// since, nobody has read it since, and no process has it: the next touch is a READ, which comes to
// us. A READ never waits for a migration, since the inval waits for pages whose READ is in flight.
//
// Invariants:
//  1. A page's bytes are in one place, the one that its state tells; no byte is ever lost, save
//  what
//     was never written back when the daemon ends.
//  2. References of the pagemap = pages of the device that are allocated. Each is put after
//     page_free() was called for its page, once.
//  3. After the pagemap was killed no page goes to the device.
//  4. Memory grows with runs of pages, not with pages.
//  5. The lock is held for at most kChunkBytes of copying.
//
// Thread contract: any thread, save attach() and detach(), which are the owner's. The stores are
// used under the lock.
// Models: mm/migrate_device.c migrate_vma_setup(), migrate_vma_pages(), migrate_vma_finalize(),
// mm/memremap.c zone_device_page_init(), free_zone_device_folio(), mm/memory.c do_swap_page()
// (device private), lib/test_hmm.c dmirror_migrate_to_device(), dmirror_devmem_fault() @v6.12;
// differs: the page cache's pages move, not a process's; one migration at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "core/base/units.h"
#include "core/device/byte_store.h"
#include "core/device/page_runs.h"
#include "core/pagemap/dev_pagemap.h"
#include "core/range/range_set.h"

namespace pmemd {

class PrivateMemory {
 public:
  static constexpr uint64_t kChunkBytes = 64 * kKiB;

  // The file and the device's data have `size_bytes` each, whole pages. `ram` outlives it.
  PrivateMemory(std::string name, uint64_t size_bytes, ByteStore& ram);
  PrivateMemory(const PrivateMemory&) = delete;
  PrivateMemory& operator=(const PrivateMemory&) = delete;
  ~PrivateMemory();  // asserts: detached

  // Gives it a device, on a registered pagemap whose ops call migrate_to_ram() and page_free() of
  // this object. Asserts: it has none. Both live until detach().
  void attach(DevPagemap& pagemap, ByteStore& device) PMEMD_EXCLUDES(mutex_);
  // Asserts: no page is on the device. No read(), write() or migration of before is running.
  void detach() PMEMD_EXCLUDES(mutex_);

  // A READ: the bytes, from system memory; pages on the device come back first, by the pagemap's
  // migrate_to_ram(). The range is within the file (asserted), and as long as `to`.
  // ENOMEM: no memory for them. EIO.
  Result<void> read(FileRange range, std::span<std::byte> to) PMEMD_EXCLUDES(mutex_);

  enum class Origin {
    kProgram,    // a touch, as read() is
    kWriteback,  // the kernel writes back what was stored before
  };
  // ENOMEM, EIO: as read(); what of it was written is unspecified.
  Result<void> write(uint64_t offset, std::span<const std::byte> from, Origin origin)
      PMEMD_EXCLUDES(mutex_);

  // The right to finish one migration. Gone without that, its pages are in system memory as before.
  class Migration {
   public:
    Migration() = default;  // of nothing
    Migration(Migration&& other) noexcept : memory_(std::exchange(other.memory_, nullptr)) {}
    Migration& operator=(Migration&& other) noexcept {
      if (this != &other) {
        reset();
        memory_ = std::exchange(other.memory_, nullptr);
      }
      return *this;
    }
    ~Migration() { reset(); }
    explicit operator bool() const { return memory_ != nullptr; }
    void reset() {
      if (memory_ != nullptr) std::exchange(memory_, nullptr)->end_migration();
    }

   private:
    friend class PrivateMemory;
    explicit Migration(PrivateMemory* memory) : memory_(memory) {}
    PrivateMemory* memory_ = nullptr;
  };
  // EINVAL: empty, no whole pages, or not within the file. ENXIO: no device, or it was killed.
  // EBUSY: another migration is under way.
  Result<Migration> begin_migrate(FileRange range) PMEMD_EXCLUDES(mutex_);
  // Behind the inval: how many pages went to the device. Fewer than were asked for: those that
  // were touched meanwhile or were there already, those that the device had no page for (or could
  // not take), and, when it was killed meanwhile, the rest.
  uint64_t finish_migrate(Migration migration) PMEMD_EXCLUDES(mutex_);

  // All pages come back; how many did. The device was killed, so that none follows.
  // ENOMEM, EIO: one can't come; ETIMEDOUT: the deadline passed. Those that are left stay where
  // they are, and come when they are touched.
  Result<uint64_t> migrate_all_to_ram(Deadline deadline) PMEMD_EXCLUDES(mutex_);

  // --- the ops of the pagemap. `pages`: physical, of the device.
  // Pages that are not allocated (somebody was faster) are no error. ENOMEM, EIO: one can't come.
  Result<void> migrate_to_ram(PhysRange pages) PMEMD_EXCLUDES(mutex_);
  // Asserts: they are allocated, and no page of the file is on them.
  void page_free(PhysRange pages) PMEMD_EXCLUDES(mutex_);

  struct Counts {
    uint64_t device_pages = 0;     // pages of the file that are on the device
    uint64_t migrating_pages = 0;  // on their way
    uint64_t free_pages = 0;       // of the device
    uint64_t runs = 0;
  };
  Counts counts() const PMEMD_EXCLUDES(mutex_);
  // The pages on the device, as ranges of the file: at most `limit`.
  std::vector<FileRange> device_ranges(size_t limit) const PMEMD_EXCLUDES(mutex_);
  uint64_t size_bytes() const { return size_bytes_; }

 private:
  // A step of a migration: what went, or what was allocated in vain.
  struct Moved {
    bool is_last = false;
    uint64_t pages = 0;
    DataRange in_vain = {};
  };
  Moved migrate_chunk() PMEMD_EXCLUDES(mutex_);
  Result<void> copy_to_device(FileRange from, DataRange to) PMEMD_REQUIRES(mutex_);
  void end_migration() PMEMD_EXCLUDES(mutex_);
  // The first free pages, at most `most` bytes of them; empty if there are none. They are the
  // caller's, with a reference each.
  DataRange allocate_device_pages(uint64_t most) PMEMD_REQUIRES(mutex_);
  // The last put of pages: page_free() for them, then their references.
  void put_device_pages(DataRange pages) PMEMD_EXCLUDES(mutex_);

  // Moves the first chunk of what `pages` of the device have back. False: nothing is there.
  Result<bool> fault_chunk(DataRange pages) PMEMD_EXCLUDES(mutex_);
  // Calls `act` for each chunk of the file, when its pages are in system memory, under the lock.
  template <class Act>
  Result<void> for_each_chunk(FileRange range, Origin origin, Act act) PMEMD_EXCLUDES(mutex_);

  PhysRange to_phys(DataRange pages) const PMEMD_REQUIRES(mutex_);
  DataRange to_data(PhysRange pages) const PMEMD_REQUIRES(mutex_);

  const std::string name_;
  const uint64_t size_bytes_;
  ByteStore& ram_;

  mutable Mutex mutex_;
  DevPagemap* pagemap_ PMEMD_GUARDED_BY(mutex_) = nullptr;
  ByteStore* device_ PMEMD_GUARDED_BY(mutex_) = nullptr;
  PageRuns on_device_ PMEMD_GUARDED_BY(mutex_);
  RangeSet<DataSpace> free_ PMEMD_GUARDED_BY(mutex_);
  RangeSet<FileSpace> migrating_ PMEMD_GUARDED_BY(mutex_);
  bool has_migration_ PMEMD_GUARDED_BY(mutex_) = false;
  std::vector<std::byte> buffer_ PMEMD_GUARDED_BY(mutex_);  // a chunk, on its way
};

}  // namespace pmemd

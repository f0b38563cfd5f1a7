// Device-private memory: ordinary memory of a file, whose pages can migrate to a device that the
// CPU can't reach, and come back when the CPU touches them.
//
// Each page of the file is in system memory, or on the device, or *migrating*: still in system
// memory, on its way to the device. A page on the device uses one device page, allocated when it
// arrives; each device page holds one reference of the pagemap.
//
// The kernel's page cache knows nothing of a migration. It takes three steps:
//
//   begin_migrate(range)   marks those pages of the range that are in system memory as migrating
//   flush, inval(range)    by the notifier, while requests are served: the kernel writes back what
//                          was stored, and drops its cached pages
//   finish_migrate()       copies the pages that are still migrating to the device
//
// A touch meanwhile (a READ, or a WRITE that isn't writeback) takes its page back to system memory,
// and the page doesn't migrate: the kernel may have it cached again. (migrate_vma_setup() likewise
// skips pages that it can't isolate.) A writeback is the flush's own: it goes to system memory, and
// the page stays migrating. So when finish_migrate() copies a page, the inval has dropped it,
// nobody has read it since, and no process has it: the next touch is a READ, which comes to us. A
// READ never waits for a migration, because the inval waits for pages whose READ is in flight.
//
// Invariants:
//  1. A page's bytes are in one place, which its state tells. No byte is lost, except those not
//     written back when the daemon ends.
//  2. References of the pagemap = allocated device pages. A page's reference is put once, after
//     page_free() was called for the page.
//  3. After the pagemap was killed, no page migrates to the device.
//  4. Memory grows with runs of pages, not with pages.
//  5. The lock is held for at most kChunkBytes of copying.
//
// Thread contract: any thread, except attach() and detach(), which are the owner's. The stores are
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

  // `size_bytes`: of the file, and of the device's data; whole pages. `ram` outlives it.
  PrivateMemory(std::string name, uint64_t size_bytes, ByteStore& ram);
  PrivateMemory(const PrivateMemory&) = delete;
  PrivateMemory& operator=(const PrivateMemory&) = delete;
  ~PrivateMemory();  // asserts: detached

  // Gives it a device, on a registered pagemap whose ops call migrate_to_ram() and page_free() of
  // this object. Asserts: it has none. Both live until detach().
  void attach(DevPagemap& pagemap, ByteStore& device) PMEMD_EXCLUDES(mutex_);
  // Asserts: no page is on the device. No earlier read(), write() or migration may be running.
  void detach() PMEMD_EXCLUDES(mutex_);

  // A READ: reads from system memory; pages on the device come back first, through the pagemap's
  // migrate_to_ram(). The range is within the file (asserted), and as long as `to`.
  // ENOMEM: no memory for them. EIO.
  Result<void> read(FileRange range, std::span<std::byte> to) PMEMD_EXCLUDES(mutex_);

  enum class Origin {
    kProgram,    // a touch, like read()
    kWriteback,  // the kernel writes back what was stored before
  };
  // ENOMEM, EIO: as read(); how much was written is unspecified.
  Result<void> write(uint64_t offset, std::span<const std::byte> from, Origin origin)
      PMEMD_EXCLUDES(mutex_);

  // The right to finish one migration. If destroyed unfinished, its pages stay in system memory.
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
  // EINVAL: empty, not whole pages, or not within the file. ENXIO: no device, or it was killed.
  // EBUSY: another migration is in progress.
  Result<Migration> begin_migrate(FileRange range) PMEMD_EXCLUDES(mutex_);
  // Call after the inval. Returns how many pages went to the device. Left out: pages that were
  // touched meanwhile or were there already, those that the device had no page for (or could not
  // take), and, if it was killed meanwhile, the rest.
  uint64_t finish_migrate(Migration migration) PMEMD_EXCLUDES(mutex_);

  // Brings all pages back; returns how many. The device was killed, so no page follows them.
  // ENOMEM, EIO: a page can't come back; ETIMEDOUT: the deadline passed. The rest stay where they
  // are, and come back when they are touched.
  Result<uint64_t> migrate_all_to_ram(Deadline deadline) PMEMD_EXCLUDES(mutex_);

  // --- the ops of the pagemap. `pages`: physical, of the device.
  // Skips pages that aren't allocated (somebody was faster). ENOMEM, EIO: one can't come back.
  Result<void> migrate_to_ram(PhysRange pages) PMEMD_EXCLUDES(mutex_);
  // Asserts: they are allocated, and no page of the file is on them.
  void page_free(PhysRange pages) PMEMD_EXCLUDES(mutex_);

  struct Counts {
    uint64_t device_pages = 0;     // pages of the file that are on the device
    uint64_t migrating_pages = 0;  // on their way there
    uint64_t free_pages = 0;       // of the device
    uint64_t runs = 0;
  };
  Counts counts() const PMEMD_EXCLUDES(mutex_);
  // The pages on the device, as ranges of the file: at most `limit`.
  std::vector<FileRange> device_ranges(size_t limit) const PMEMD_EXCLUDES(mutex_);
  uint64_t size_bytes() const { return size_bytes_; }

 private:
  // A step of a migration: the pages that went, or those allocated in vain.
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

  // Moves the first chunk that lies on device pages `pages` back. False: nothing lies there.
  Result<bool> fault_chunk(DataRange pages) PMEMD_EXCLUDES(mutex_);
  // Calls `act` under the lock for each chunk of the file, once its pages are in system memory.
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

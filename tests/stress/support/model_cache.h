// The kernel's page cache over one device, as a model: what READ, WRITE, flush and inval do to it.
//
// A page is read by its first load and then stays; stores go to the page and make it dirty. inval
// waits for a page whose READ is in flight, launders a dirty one, and drops it. As in the kernel,
// no page can come back but through a READ that the device admits.
//
// Thread contract: load() and store() from any thread; flush() and inval() from the remover's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "core/base/mutex.h"
#include "core/device/device.h"

namespace pmemd {

class ModelCache {
 public:
  static constexpr uint64_t kInodes = 6;
  static constexpr uint64_t kPagesEach = 16;

  explicit ModelCache(Device& device) : device_(device) {}

  uint64_t ino(uint64_t index) const {
    return make_inode_number(device_.record().serial, index + 1);
  }

  // The page's value; none: the load got a SIGBUS.
  std::optional<uint64_t> load(uint64_t inode, uint64_t page) PMEMD_EXCLUDES(mutex_) {
    {
      MutexLock lock(mutex_);
      Page& p = pages_[inode][page];
      while (p.is_reading) changed_cv_.wait(mutex_);
      if (p.is_present) return p.value;
      p.is_reading = true;
    }
    read(inode, page);
    MutexLock lock(mutex_);
    const Page& p = pages_[inode][page];
    return p.is_present ? std::optional(p.value) : std::nullopt;
  }

  // False: SIGBUS. What was stored is the page's value until the next store.
  bool store(uint64_t inode, uint64_t page, uint64_t value) PMEMD_EXCLUDES(mutex_) {
    (void)load(inode, page);
    MutexLock lock(mutex_);
    Page& p = pages_[inode][page];
    if (!p.is_present) return false;
    p.value = p.last_stored = value;
    p.is_dirty = true;
    return true;
  }

  void flush(uint64_t inode) {
    for (uint64_t page = 0; page < kPagesEach; ++page) launder(inode, page);
  }

  void inval(uint64_t inode) PMEMD_EXCLUDES(mutex_) {
    for (uint64_t page = 0; page < kPagesEach; ++page) {
      while (true) {
        launder(inode, page);
        MutexLock lock(mutex_);
        Page& p = pages_[inode][page];
        while (p.is_reading) changed_cv_.wait(mutex_);
        if (p.is_dirty) continue;  // stored to meanwhile
        p.is_present = false;
        break;
      }
    }
  }

  uint64_t pages_present() const PMEMD_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    uint64_t count = 0;
    for (const auto& inode : pages_) {
      for (const Page& p : inode) count += p.is_present || p.is_reading ? 1 : 0;
    }
    return count;
  }

  uint64_t last_stored(uint64_t inode, uint64_t page) const PMEMD_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return pages_[inode][page].last_stored;
  }
  // What a surprise has lost is no longer expected.
  void expect(uint64_t inode, uint64_t page, uint64_t value) PMEMD_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    pages_[inode][page].last_stored = value;
  }

 private:
  struct Page {
    bool is_reading = false;
    bool is_present = false;
    bool is_dirty = false;
    uint64_t value = 0;
    uint64_t last_stored = 0;
  };

  static uint64_t offset(uint64_t inode, uint64_t page) {
    return (inode * kPagesEach + page) * kPageSize;
  }

  // READ: admitted, lent, answered; the request ends when the reply has left.
  void read(uint64_t inode, uint64_t page) PMEMD_EXCLUDES(mutex_) {
    const auto request = device_.admit(Admission::kRequest);
    uint64_t value = 0;
    bool good = request.has_value();
    if (good) {
      good =
          device_.leases().lend(ino(inode), FileRange::sized(page * kPageSize, kPageSize)) &&
          request->media().read(offset(inode, page), std::as_writable_bytes(std::span(&value, 1)));
    }
    MutexLock lock(mutex_);
    Page& p = pages_[inode][page];
    p.is_reading = false;
    p.is_present = good;
    p.value = value;
    changed_cv_.notify_all();
  }

  // WRITE of the kernel's writeback. One that is refused is lost; the page stays, clean.
  void launder(uint64_t inode, uint64_t page) PMEMD_EXCLUDES(mutex_) {
    uint64_t value = 0;
    {
      MutexLock lock(mutex_);
      Page& p = pages_[inode][page];
      if (!p.is_dirty) return;
      p.is_dirty = false;
      value = p.value;
    }
    const auto request = device_.admit(Admission::kWriteback);
    if (!request ||
        !request->media().write(offset(inode, page), std::as_bytes(std::span(&value, 1)),
                                Media::Writer::kWriteback)) {
      device_.health().count_lost_writeback();
    }
  }

  Device& device_;
  mutable Mutex mutex_;
  CondVar changed_cv_;
  std::array<std::array<Page, kPagesEach>, kInodes> pages_ PMEMD_GUARDED_BY(mutex_) = {};
};

}  // namespace pmemd

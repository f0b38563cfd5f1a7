// A device's pagemap, and all that holds references of it: the reference table's entries, the pages
// that its content has given to processes, and the volume above it.
//
// Invariants:
//  1. References of the pagemap = held() + unaccounted(); a lookup takes one for a moment.
//  2. The pagemap is replaced only after references were abandoned, while no request is open.
//
// Thread contract: any thread. pagemap(), abandon(), hold_for_volume(), put_of_volume(): the thread
// that operates on the device; tryget_live(): also inside a request.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "core/base/mutex.h"
#include "core/pagemap/dev_pagemap.h"
#include "core/pagemap/pagemap_registry.h"
#include "core/references/reference_table.h"

namespace pmemd {

class DeviceContent;

class DeviceReferences {
 public:
  // `content` must outlive it.
  DeviceReferences(const DeviceContent& content, std::unique_ptr<DevPagemap> pagemap);

  ReferenceTable& table() { return table_; }
  const ReferenceTable& table() const { return table_; }

  // As ReferenceTable::list(), plus the volume, buffers and private pages.
  ReferenceTable::List list(size_t limit,
                            const std::optional<ReferenceFilter>& only = std::nullopt) const;
  // How many references of the pagemap all these hold.
  uint64_t held() const;
  // References that nothing accounts for: leaked, or (for a moment) taken by a lookup.
  uint64_t unaccounted() const PMEMD_EXCLUDES(mutex_);
  // References given up since the device was made.
  uint64_t abandoned() const { return abandoned_.load(std::memory_order_relaxed); }

  DevPagemap& pagemap() { return *pagemap_; }
  PercpuRef::Ref tryget_live() { return pagemap_->ref().tryget_live(); }
  // Gives up the references that are left, and counts them. They are put to the old pagemap, which
  // the registry keeps for them; `fresh` is the device's from now on.
  void abandon(std::unique_ptr<DevPagemap> fresh, PagemapRegistry& registry) PMEMD_EXCLUDES(mutex_);

  // The volume's reference, unless it has one. Live only.
  void hold_for_volume();
  void put_of_volume();

 private:
  const DeviceContent& content_;

  // Outside a request, read it under the lock.
  std::unique_ptr<DevPagemap> pagemap_;
  mutable Mutex mutex_;
  ReferenceTable table_;
  std::atomic<uint64_t> abandoned_ = 0;
  std::atomic<bool> volume_holds_ = false;
  PercpuRef::Ref volume_ref_;  // while volume_holds_; only for a thread that operates on the volume
};

}  // namespace pmemd

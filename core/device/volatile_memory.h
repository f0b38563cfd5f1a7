// The memory of a namespace whose content goes with the daemon: device-private or p2p. Of the other
// modes there is none, and nothing here does anything.
//
// What lies in the namespace's part of the image is zeros before the first page is used: it is
// discarded by a clean disable, or else by the next enable. System memory of a private namespace
// stays as long as the device object: a process's memory isn't gone because the device is.
//
// Thread contract: as Device: prepare(), attach() and detach() are the owner's; the rest from any
// thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "core/device/byte_store.h"
#include "core/device/device_record.h"
#include "core/device/p2p_pool.h"
#include "core/device/private_memory.h"
#include "core/pagemap/dev_pagemap.h"
#include "core/pool/records.h"
#include "core/references/reference_table.h"

namespace pmemd {

class VolatileMemory {
 public:
  // `ino`: of the namespace's one file.
  VolatileMemory(const DeviceRecord& record, uint64_t ino);
  VolatileMemory(const VolatileMemory&) = delete;
  VolatileMemory& operator=(const VolatileMemory&) = delete;

  // Null, if the mode is another. private_memory(): from the first prepare() on.
  PrivateMemory* private_memory() { return shown_.load(std::memory_order_acquire); }
  P2pPool* p2p() { return p2p_.get(); }
  const P2pPool* p2p() const { return p2p_.get(); }

  // What the pagemap must have; empty for other modes.
  DevPagemapOps ops();

  // Before the pagemap is set up. `clean`: the last disable was in order. ENOMEM, EMFILE, ENFILE:
  // no system memory. EIO, ENOSPC: the image can't be zeroed.
  Result<void> prepare(MappedImage& image, bool clean);
  // When the pagemap is set up. Both live until detach().
  void attach(DevPagemap& pagemap, MappedImage& image);
  // Asserts: no page and no buffer is out. EIO, ENOSPC: detached, but the image can't be zeroed.
  Result<void> detach(MappedImage& image);

  // Of a killed pagemap: all private pages come back. How many. As
  // PrivateMemory::migrate_all_to_ram().
  Result<uint64_t> migrate_all_to_ram(Deadline deadline);

  // References of the pagemap that pages and buffers hold.
  uint64_t held() const;
  // Buffers before, pages behind what is in the list, which gets at most `limit` entries.
  void add_to(ReferenceTable::List& list, size_t limit,
              const std::optional<ReferenceFilter>& only) const;

 private:
  std::vector<Reference> buffers() const;
  std::vector<Reference> pages() const;

  const NamespaceMode mode_;
  const std::string name_;
  const uint64_t size_bytes_;
  const uint64_t ino_;
  std::unique_ptr<P2pPool> p2p_;
  std::unique_ptr<SystemMemory> ram_;
  std::unique_ptr<PrivateMemory> private_;
  std::atomic<PrivateMemory*> shown_ = nullptr;  // private_, for those who look meanwhile
  std::unique_ptr<ImageStore> store_;            // while attached
};

}  // namespace pmemd

// A namespace or a volume as a device: requests go through it; enable and removal act on it. Its
// content (core/device/content.h) decides what its files are and how they behave.
//
//   State      Admits (of an fsdax; DeviceContent::refusal() decides)   Left by
//   disabled   nothing                                                  enable() → live
//   live       everything, unless it is a leg or shut down              kill() → dying
//   dying      writeback of earlier stores, so that no byte is lost;    stop_writeback() → dead
//              attributes; reads of pinned ranges                       resurrect() → live
//   dead       nothing; the medium is gone                              release() → disabled
//                                                                       resurrect() → live
//
// Invariants:
//  1. After a state change, nothing relies on it until every request admitted in the old state has
//     ended: wait_requests() after kill() and after stop_writeback().
//  2. The image and the file system live from enable() until release(); a Request keeps them.
//  3. release() drops them only when no request is in flight and the pagemap is drained.
//  4. Lookup counts and open handles outlive a removal: the kernel still holds the inodes.
//  5. A volume has no pages of its own: its pagemap only counts what stands on it, and is never in
//     the registry. Requests of a volume use the images of its legs, so a leg waits for those, too.
//  6. Until release() succeeds nothing is lost: resurrect() makes the device live as before. After
//     release() the device is disabled, whatever else failed.
//
// Thread contract: requests and handles from any thread; enable(), kill() … release() from one
// thread at a time (the owner serializes them: DeviceTable::Operation).
// Models: drivers/dax/super.c kill_dax(), dax_alive(), dax_read_lock() @v6.12; differs: `dying` is
// an extra state, because our page cache has to be flushed to the medium.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "core/base/srcu.h"
#include "core/device/content_life.h"
#include "core/device/device_handles.h"
#include "core/device/device_health.h"
#include "core/device/device_lookups.h"
#include "core/device/device_record.h"
#include "core/device/device_references.h"
#include "core/device/memory.h"
#include "core/device/request.h"
#include "core/failure/dax_device.h"
#include "core/filesystem/filesystem.h"
#include "core/pagemap/dev_pagemap.h"
#include "core/pagemap/pagemap_registry.h"
#include "core/pool/pool.h"
#include "core/pool/schema.h"

namespace pmemd {

class Device {
 public:
  enum class State { kDisabled, kLive, kDying, kDead };

  Device(Pool& pool, PagemapRegistry& registry, const RegionRecord& region,
         const NamespaceRecord& record);
  // A volume. `legs`: in order, disabled.
  Device(Pool& pool, PagemapRegistry& registry, const VolumeRecord& record,
         std::vector<std::shared_ptr<Device>> legs);
  ~Device();  // asserts: disabled
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const DeviceRecord& record() const { return record_; }
  DeviceMemory& memory() { return *memory_; }
  const DeviceMemory& memory() const { return *memory_; }
  DeviceContent& content() { return *content_; }
  const DeviceContent& content() const { return *content_; }
  State state() const { return state_.load(std::memory_order_acquire); }
  uint64_t root_ino() const { return make_inode_number(record_.serial, kRootIndex); }

  // The volume that it is a leg of, or null; changes only while it is disabled. What it points to
  // is only for a caller that may operate on both.
  Device* above() { return above_.load(std::memory_order_acquire); }
  const Device* above() const { return above_.load(std::memory_order_acquire); }
  // Whether the volume above is enabled: the device is then in use, though nobody has it open.
  // For a caller that may operate on both.
  bool is_used_by_volume() const { return above() != nullptr && above()->memory().uses_legs(); }
  // Whether the mount shows it.
  bool is_shown() const { return state() == State::kLive && above() == nullptr; }

  using Request = DeviceRequest;
  // Errors: those of DeviceContent::refusal(), such as the content's gone_errno().
  Result<Request> admit(Admission access, const RequestOrigin& origin = {});

  // --- who uses it
  DeviceHandles& handles() { return handles_; }
  DeviceLookups& lookups() { return lookups_; }
  DeviceReferences& references() { return references_; }
  const DeviceReferences& references() const { return references_; }
  LeaseTable& leases() { return references_.table().leases(); }
  const LeaseTable& leases() const { return references_.table().leases(); }
  ClaimTable& claims() { return references_.table().claims(); }
  const ClaimTable& claims() const { return references_.table().claims(); }

  // --- failure
  // The memory as its holder knows it; memory_failure() and volumes enter here.
  DaxDevice& dax() { return dax_; }
  const DaxDevice& dax() const { return dax_; }
  DeviceHealth& health() { return health_; }
  // The current settings: how it behaves when its memory fails.
  NamespaceSettings settings() const { return pool_.settings(record_.serial); }

  // --- enable and removal

  // EBUSY: it is live. EIO: the namespace doesn't hold together. ENOMEM: its range belongs to
  // another pagemap. ENXIO: its range is System RAM, or a leg isn't enabled. ENOSPC, EMFILE: no
  // volatile memory. After a failure everything is as before, except that the namespace may no
  // longer be marked clean. A device whose removal stopped half-way is taken back.
  Result<void> enable();

  // live → dying. EBUSY: `only_if_idle`, and a handle is open or a volume uses it. ENXIO: not live.
  Result<void> kill(bool only_if_idle);
  void resurrect();       // dying, dead → live: a removal is taken back
  void stop_writeback();  // dying → dead
  // Waits until every request admitted before the call has ended; for a leg, those of the volumes
  // above, too. ETIMEDOUT.
  Result<void> wait_requests(Deadline deadline);
  uint64_t requests_in_flight() const { return srcu_.open_sections(); }
  // dead → disabled: waits for requests and references, makes everything durable, unmaps the
  // image, leaves the registry. ETIMEDOUT: requests or references are left; still dead. `abandon`:
  // references that are left at the deadline are given up, and counted (requests never are: they
  // use the image). Other errors (something could not be made durable) are returned after the
  // release.
  Result<void> release(Deadline deadline, bool abandon = false);

 private:
  friend class DeviceRequest;
  friend class VolumeLegs;

  using MakeMemory = std::function<std::unique_ptr<DeviceMemory>(Device&)>;
  Device(Pool& pool, PagemapRegistry& registry, DeviceRecord record, const MakeMemory& make);

  // --- called by the volume, on a leg.
  void become_leg(Device* volume);
  // Call inside a section that this device waits for. Null: see VolumeMedia::LegMedia.
  Media* media_for_volume(Media::Writer writer);

  DevPagemapOps pagemap_ops();
  void become_live();
  Result<void> mount_and_publish();
  Result<void> mark_in_use();
  std::unique_ptr<DevPagemap> make_pagemap();
  Result<void> publish();
  Result<void> make_durable();

  Pool& pool_;
  PagemapRegistry& registry_;
  const DeviceRecord record_;

  // Own locking.
  std::atomic<State> state_ = State::kDisabled;
  std::atomic<Device*> above_ = nullptr;  // changed while disabled
  Srcu srcu_;
  DeviceHealth health_;
  const std::unique_ptr<DeviceMemory> memory_;
  const std::unique_ptr<ContentLife> content_;
  DaxDevice dax_;
  const std::unique_ptr<DaxHolder> holder_;  // the content's; may be null
  DeviceReferences references_;
  DeviceHandles handles_;
  DeviceLookups lookups_;
};

inline FileSystem& DeviceRequest::fs() const { return *device_->content().fs(); }
inline Media& DeviceRequest::media() const { return *device_->memory().media(); }

}  // namespace pmemd

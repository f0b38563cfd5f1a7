// A namespace or a volume as a device: requests go through it; enable and removal act on it. Its
// content (core/device/content.h) decides what its files are and how they behave.
//
//   State      Admits                                           Left by
//   disabled   nothing                                          enable() → live
//   live       everything                                       kill() → dying
//   dying      writeback of earlier stores, so that no byte is  stop_writeback() → dead
//              lost; reads of pinned ranges                     resurrect() → live
//   dead       nothing; the medium is gone                      release() → disabled
//                                                               resurrect() → live
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

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "core/base/srcu.h"
#include "core/device/content.h"
#include "core/device/device_record.h"
#include "core/device/memory.h"
#include "core/device/request.h"
#include "core/device/volume_legs.h"
#include "core/events/mapper_events.h"
#include "core/failure/dax_device.h"
#include "core/filesystem/filesystem.h"
#include "core/media/namespace_media.h"
#include "core/pagemap/dev_pagemap.h"
#include "core/pagemap/pagemap_registry.h"
#include "core/pool/pool.h"
#include "core/pool/schema.h"
#include "core/references/reference_table.h"

namespace pmemd {

struct OpenHandle {
  uint64_t ino = 0;
  pid_t pid = 0;  // its opener; the descriptor may have been passed on since
  bool writable = false;
  bool noatime = false;  // O_NOATIME
  UserBudget::Charge charge = {};
};

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
  NamespaceMemory* namespace_memory() const { return namespace_memory_; }  // null: a volume
  DeviceContent& content() { return *content_; }
  const DeviceContent& content() const { return *content_; }
  State state() const { return state_.load(std::memory_order_acquire); }
  uint64_t root_ino() const { return make_inode_number(record_.serial, kRootIndex); }

  // --- volumes. Which volume a device is a leg of changes only while it is disabled.
  VolumeLegs* legs() { return legs_; }  // null: it is a namespace
  const VolumeLegs* legs() const { return legs_; }
  bool is_leg() const { return above_.load(std::memory_order_acquire) != nullptr; }
  // The volume that it is a leg of, or null. Only for a caller that may operate on both.
  Device* above() { return above_.load(std::memory_order_acquire); }
  const Device* above() const { return above_.load(std::memory_order_acquire); }
  // Whether the volume above is enabled: the device is then in use, though nobody has it open.
  bool is_used_by_volume() const { return is_leg() && above()->legs()->in_use(); }
  // Whether the mount shows it.
  bool is_shown() const { return state() == State::kLive && !is_leg(); }

  using Request = DeviceRequest;
  // Errors: those of DeviceContent::admits(), such as the content's gone_errno().
  Result<Request> admit(Admission access, const RequestOrigin& origin = {});

  // --- open handles. The id goes to the kernel; 0 is none. gone_errno() of the content: not live.
  Result<uint64_t> add_handle(OpenHandle handle);
  // Drops its claims; its buffers begin to return. Unknown ids are ignored.
  void remove_handle(uint64_t id);
  // The process has ended: does the same with what it asked for.
  void remove_process(pid_t pid);
  // Ends all waits for handles and pins at once, for good.
  void interrupt_waits();

  // --- what a process asks for through a handle (client/pmemd_ioctl.h). Returns the id. EBADF: no
  // such handle. EINVAL: the range is empty, or not within what can be pinned. EOPNOTSUPP (pin):
  // private memory, which may move, or a p2p pool, whose buffers are pins. gone_errno(): not live.
  // EEXIST (takeover): part of the range is taken over through another handle.
  Result<uint64_t> pin(uint64_t handle, pid_t pid, FileRange range, UserBudget::Charge charge = {});
  Result<uint64_t> register_mapping(uint64_t handle, pid_t pid, FileRange range, uint64_t address,
                                    UserBudget::Charge charge = {});
  Result<uint64_t> take_over(uint64_t handle, pid_t pid, FileRange range,
                             std::chrono::milliseconds timeout, UserBudget::Charge charge = {});
  // In any state. Drops its unread events, too. ENOENT: the handle has no such claim.
  Result<void> end_claim(uint64_t handle, ReferenceKind kind, uint64_t id);
  // Events for processes with registered mappings or takeovers, and their answers.
  MapperEvents& mapper_events() { return mapper_events_; }

  // The kernel's writeback failed: what a mapping stored is lost.
  void count_lost_writeback() { lost_writebacks_.fetch_add(1, std::memory_order_relaxed); }
  uint64_t lost_writebacks() const { return lost_writebacks_.load(std::memory_order_relaxed); }

  ReferenceTable& references() { return references_; }
  const ReferenceTable& references() const { return references_; }
  // As ReferenceTable::list(), plus buffers and private pages, which that table doesn't know.
  ReferenceTable::List list_references(
      size_t limit, const std::optional<ReferenceFilter>& only = std::nullopt) const;
  // How many references of the pagemap all these hold.
  uint64_t held_references() const {
    return references_.held() + content_->held() + (volume_holds_.load() ? 1 : 0);
  }
  LeaseTable& leases() { return references_.leases(); }
  const LeaseTable& leases() const { return references_.leases(); }
  ClaimTable& claims() { return references_.claims(); }
  const ClaimTable& claims() const { return references_.claims(); }
  const LookupCounts& lookups() const { return lookups_; }
  // Counts a lookup that a reply tells the kernel of. Call before the reply leaves.
  void count_lookup(uint64_t ino) PMEMD_EXCLUDES(forget_mutex_);
  // The kernel forgets `count` lookups. The last one ends the inode's leases, and deletes an inode
  // without links.
  void forget(uint64_t ino, uint64_t count) PMEMD_EXCLUDES(forget_mutex_);

  // --- failure

  // The memory as its holder knows it; memory_failure() and volumes enter here.
  DaxDevice& dax() { return dax_; }
  const DaxDevice& dax() const { return dax_; }
  // The current settings: how it behaves when its memory fails.
  NamespaceSettings settings() const { return pool_.settings(record_.serial); }
  // The file system can't go on: every request but writeback fails (EIO) until the next enable.
  void shut_down() { shut_down_.store(true, std::memory_order_release); }
  bool is_shut_down() const { return shut_down_.load(std::memory_order_acquire); }

  // --- enable and removal

  // EBUSY: it is live. EIO: the namespace doesn't hold together. ENOMEM: its range belongs to
  // another pagemap. ENXIO: its range is System RAM, or a leg isn't enabled. After a failure
  // everything is as before, except that the namespace may no longer be marked clean. A device
  // whose removal stopped half-way is taken back.
  Result<void> enable();

  // Refuses new opens; requests through open handles go on. kill() does this too.
  void stop_opens();
  void let_open_again();  // live only
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
  // References given up since the device was made.
  uint64_t abandoned_references() const { return abandoned_.load(std::memory_order_relaxed); }
  // References of the pagemap that nothing in the table accounts for: leaked, or (for a moment)
  // taken by a lookup.
  uint64_t unaccounted_references() const;

 private:
  friend class DeviceRequest;
  friend class VolumeLegs;

  using MakeMemory = std::function<std::unique_ptr<DeviceMemory>(Device&)>;
  Device(Pool& pool, PagemapRegistry& registry, DeviceRecord record, const MakeMemory& make);

  // --- called by the volume, on a leg.
  void become_leg(Device* volume);
  void hold_for_volume();  // takes a reference of the pagemap, unless it has one; live only
  void put_of_volume();
  // Call inside a section that this device waits for. Null: see VolumeMedia::LegMedia.
  Media* media_for_volume(Media::Writer writer);

  DevPagemapOps pagemap_ops();
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
  std::atomic<uint64_t> lost_writebacks_ = 0;  // since enable()
  std::atomic<uint64_t> abandoned_ = 0;
  std::atomic<bool> shut_down_ = false;
  std::atomic<Device*> above_ = nullptr;  // changed while disabled
  std::atomic<bool> volume_holds_ = false;
  Srcu srcu_;
  const std::unique_ptr<DeviceMemory> memory_;
  NamespaceMemory* const namespace_memory_;  // memory_, or null
  VolumeLegs* const legs_;                   // memory_, or null
  const std::unique_ptr<DeviceContent> content_;
  DaxDevice dax_;
  const std::unique_ptr<DaxHolder> holder_;  // the content's; may be null
  // Replaced after references were abandoned, while no request is open. Outside a request, read it
  // under the lock.
  std::unique_ptr<DevPagemap> pagemap_;
  mutable Mutex pagemap_mutex_;
  ReferenceTable references_;
  MapperEvents mapper_events_;
  LookupCounts lookups_;

  // While volume_holds_; only for a thread that may operate on the volume.
  PercpuRef::Ref volume_ref_;

  // Makes "the last lookup is gone" and "its leases are given back" one step: a new lookup, and its
  // leases, come before or after.
  Mutex forget_mutex_;
};

inline FileSystem& DeviceRequest::fs() const { return *device_->content().fs(); }
inline Media& DeviceRequest::media() const { return *device_->memory().media(); }

}  // namespace pmemd

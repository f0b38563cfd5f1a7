#include "core/device/device.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cassert>
#include <utility>

#include "core/base/fault.h"
#include "core/base/memory.h"
#include "core/base/units.h"
#include "core/filesystem/paths.h"
#include "core/filesystem/superblock.h"

namespace pmemd {

namespace {

FaultPoint fault_map("enable.map-image", "mapping the namespace's part of the image");
FaultPoint fault_read_clean("enable.read-clean", "reading whether it was disabled in order");
FaultPoint fault_write_clean("enable.write-clean", "marking it as in use");
FaultPoint fault_content("enable.content", "mounting the file system, or zeroing volatile memory");
FaultPoint fault_memremap("enable.memremap", "registering the pagemap");
FaultPoint fault_publish("enable.publish", "the last step; the pagemap is registered");
FaultPoint fault_leak("release.leak", "a reference of the pagemap is never put (doesn't fail)");
FaultPoint fault_unmap("release.unmap", "waiting for references, leaving the registry");
FaultPoint fault_persist("release.persist", "making the image durable");
FaultPoint fault_mark_clean("release.mark-clean", "marking it as disabled in order");

// Errors of a file system or an image don't name the device.
std::unexpected<Error> with_name(std::string_view name, Error error) {
  const std::string prefix = fmt::format("{}: ", name);
  if (!error.message.starts_with(prefix)) {
    error.message = prefix + (error.message.empty() ? error.code.message() : error.message);
  }
  return std::unexpected(std::move(error));
}

}  // namespace

Device::Device(Pool& pool, PagemapRegistry& registry, const RegionRecord& region,
               const NamespaceRecord& record)
    : Device(pool, registry, DeviceRecord(record), [&](Device& device) {
        return std::make_unique<NamespaceMemory>(device, pool, registry, region);
      }) {}

Device::Device(Pool& pool, PagemapRegistry& registry, const VolumeRecord& record,
               std::vector<std::shared_ptr<Device>> legs)
    : Device(pool, registry, DeviceRecord(record), [&](Device& device) {
        return std::make_unique<VolumeLegs>(device, record, std::move(legs));
      }) {}

Device::Device(Pool& pool, PagemapRegistry& registry, DeviceRecord record, const MakeMemory& make)
    : pool_(pool),
      registry_(registry),
      record_(std::move(record)),
      memory_(make(*this)),
      namespace_memory_(dynamic_cast<NamespaceMemory*>(memory_.get())),
      legs_(dynamic_cast<VolumeLegs*>(memory_.get())),
      content_(DeviceContent::make(*this, pool)),
      dax_(record_.data_bytes()),
      holder_(content_->make_holder()),
      pagemap_(make_pagemap()),
      references_(pagemap_->ref()),
      mapper_events_(references_.claims()) {
  if (holder_) (void)dax_.set_holder(*holder_);  // it has no other
}

Device::~Device() { assert(state() == State::kDisabled); }

std::unique_ptr<DevPagemap> Device::make_pagemap() {
  DevPagemap::Setup setup = memory_->pagemap_setup();
  setup.name = record_.name();
  setup.type = content_->memory_type();
  setup.ops = pagemap_ops();
  setup.owner = this;
  return std::make_unique<DevPagemap>(std::move(setup));
}

DevPagemapOps Device::pagemap_ops() {
  DevPagemapOps ops = content_->ops();
  ops.page_mapping = [this](const PhysRanges& ranges, FailedParts& parts) {
    content_->add_mapped(namespace_memory_->data_of(ranges), parts);
  };
  return ops;
}

// Opens the section first, then reads the state: a thread that changes the state and then waits for
// the sections knows that no request of the old state is left.
Result<Device::Request> Device::admit(Admission access, const RequestOrigin& origin) {
  Srcu::ReadSection section = srcu_.read_lock();
  if (const int refused = content_->admits(access, origin)) return fail(refused);
  return Request(this, std::move(section), references_.requests().enter(origin));
}

Result<uint64_t> Device::add_handle(OpenHandle handle) {
  const auto id = claims().add_handle(handle.ino, handle.pid, handle.writable,
                                      std::move(handle.charge), handle.noatime);
  if (!id) return fail(content_->gone_errno());
  return *id;
}

void Device::remove_handle(uint64_t id) {
  claims().remove_handle(id);
  mapper_events_.forget_handle(id);
  content_->handle_gone(id);
}

void Device::remove_process(pid_t pid) {
  for (const Reference& gone : claims().remove_process(pid)) {
    mapper_events_.forget(gone.handle, gone.id);
  }
  content_->process_gone(pid);
}

void Device::interrupt_waits() {
  claims().interrupt();
  mapper_events_.interrupt();
  content_->interrupt_waits();
}

ReferenceTable::List Device::list_references(size_t limit,
                                             const std::optional<ReferenceFilter>& only) const {
  auto list = references_.list(limit, only);
  content_->add_references(list, limit, only);
  if (volume_holds_ && !only) {
    const Reference volume{.kind = ReferenceKind::kVolume, .range = kWholeFile};
    list.references.insert(list.references.begin(), volume);
    list.add_to_counts(volume);
  }
  return list;
}

Result<uint64_t> Device::pin(uint64_t handle, pid_t pid, FileRange range,
                             UserBudget::Charge charge) {
  if (!content_->is_persistent()) return fail(EOPNOTSUPP);
  PMEMD_ASSIGN(const auto request, admit(Admission::kRequest));
  auto id = claims().add_pin(handle, pid, range, pagemap_->ref().tryget_live(), std::move(charge));
  if (id.err() == ENODEV) return fail(content_->gone_errno());
  return id;
}

Result<uint64_t> Device::register_mapping(uint64_t handle, pid_t pid, FileRange range,
                                          uint64_t address, UserBudget::Charge charge) {
  auto id = claims().add_mapping(handle, pid, range, address, std::move(charge));
  if (id.err() == ENODEV) return fail(content_->gone_errno());
  return id;
}

Result<uint64_t> Device::take_over(uint64_t handle, pid_t pid, FileRange range,
                                   std::chrono::milliseconds timeout, UserBudget::Charge charge) {
  auto id = claims().add_takeover(handle, pid, range, timeout, std::move(charge));
  if (id.err() == ENODEV) return fail(content_->gone_errno());
  return id;
}

// In this order: a concurrent tell() has found the claim and is done, or finds none.
Result<void> Device::end_claim(uint64_t handle, ReferenceKind kind, uint64_t id) {
  PMEMD_TRY(claims().remove(handle, kind, id));
  mapper_events_.forget(handle, id);
  return {};
}

void Device::count_lookup(uint64_t ino) {
  MutexLock lock(forget_mutex_);
  lookups_.add(ino);
}

void Device::forget(uint64_t ino, uint64_t count) {
  {
    MutexLock lock(forget_mutex_);
    if (!lookups_.drop(ino, count)) return;
    leases().give_back(ino, kWholeFile);
  }
  content_->forget(ino);
}

Result<void> Device::enable() {
  if (state() == State::kLive) {
    return fail(EBUSY, fmt::format("{}: already enabled", record_.name()));
  }
  if (state() != State::kDisabled) {
    resurrect();
    return {};
  }
  auto enabled = or_no_memory([&]() -> Result<void> {
    PMEMD_TRY(fault_map.hit());
    PMEMD_TRY(memory_->map());
    return mount_and_publish();
  });
  const MustAllocate until_it_is_live_or_as_before;
  if (!enabled) {
    content_->unmount();
    memory_->unmap();
    return with_name(record_.name(), std::move(enabled).error());
  }
  content_->forget_attributes();
  lost_writebacks_.store(0, std::memory_order_relaxed);
  shut_down_.store(false, std::memory_order_relaxed);
  state_.store(State::kLive, std::memory_order_release);
  dax_.set_alive(true);
  let_open_again();
  if (is_leg()) above()->legs()->take_one(*this);
  return {};
}

Result<void> Device::mount_and_publish() {
  PMEMD_TRY(fault_read_clean.hit());
  PMEMD_ASSIGN(const bool clean, pool_.is_clean(record_.serial));
  PMEMD_TRY(fault_content.hit());
  PMEMD_TRY(content_->mount({.media = *memory_->media(),
                             .image = memory_->image(),
                             .clean = clean,
                             .srcu = srcu_,
                             .lookups = lookups_,
                             .mark_in_use = [this] { return mark_in_use(); }}));
  PMEMD_TRY(publish());
  const MustAllocate published;
  content_->attach(*pagemap_, memory_->image());
  return {};
}

Result<void> Device::mark_in_use() {
  PMEMD_TRY(fault_write_clean.hit());
  return pool_.set_clean(record_.serial, false);
}

// Last, because others can see it. A failure leaves a namespace that isn't marked clean: the next
// enable discards its free space.
Result<void> Device::publish() {
  PMEMD_TRY(fault_memremap.hit());
  PMEMD_TRY(memory_->memremap(*pagemap_));
  if (auto failed = fault_publish.hit(); !failed) {
    // It was never live: only a lookup can have a reference, for a moment.
    PMEMD_TRY(registry_.memunmap_pages(*pagemap_, deadline_after(std::chrono::seconds(10))));
    return failed;
  }
  return {};
}

void Device::stop_opens() { (void)claims().close(/*only_if_idle=*/false); }

// A leg is never opened.
void Device::let_open_again() {
  if (!is_leg()) claims().open();
}

Result<void> Device::kill(bool only_if_idle) {
  if (state() != State::kLive) {
    return fail(ENXIO, fmt::format("{}: not enabled", record_.name()));
  }
  if (only_if_idle && is_used_by_volume()) {
    return fail(EBUSY, fmt::format("{}: in use by {}", record_.name(), above()->record().name()));
  }
  if (!claims().close(only_if_idle)) {
    return fail(EBUSY, fmt::format("{}: {}", record_.name(),
                                   format_count(claims().handle_count(), "open file")));
  }
  state_.store(State::kDying, std::memory_order_release);
  pagemap_->ref().kill();
  return {};
}

void Device::resurrect() {
  const MustAllocate whole;
  assert(state() == State::kDying || state() == State::kDead);
  memory_->resurrect(*pagemap_);
  state_.store(State::kLive, std::memory_order_release);
  content_->forget_attributes();
  dax_.set_alive(true);
  let_open_again();
  if (is_leg()) above()->legs()->take_one(*this);
}

// Outermost first: requests that a volume admitted use this device's image.
Result<void> Device::wait_requests(Deadline deadline) {
  if (Device* const volume = above()) PMEMD_TRY(volume->wait_requests(deadline));
  return srcu_.synchronize(deadline);
}

void Device::stop_writeback() {
  assert(state() == State::kDying);
  content_->keep_attributes();
  dax_.set_alive(false);
  state_.store(State::kDead, std::memory_order_release);
}

uint64_t Device::unaccounted_references() const {
  MutexLock lock(pagemap_mutex_);
  const uint64_t all = pagemap_->references();
  const uint64_t held = held_references();
  return all > held ? all - held : 0;
}

Result<void> Device::release(Deadline deadline, bool abandon) {
  assert(state() == State::kDead);
  PMEMD_TRY(wait_requests(deadline));
  PMEMD_TRY(content_->wait_returned(deadline));
  put_of_volume();
  if (!fault_leak.hit()) pagemap_->ref().tryget().release();
  PMEMD_TRY(fault_unmap.hit());
  content_->keep_attributes();  // again: writes may have been in progress
  const MustAllocate from_here_on;
  auto unmapped = registry_.memunmap_pages(*pagemap_, deadline);
  if (!unmapped) {
    if (unmapped.err() != ETIMEDOUT || !abandon) return unmapped;
    // Later puts go to the old pagemap, which is kept for them.
    auto fresh = make_pagemap();
    leases().rebind(fresh->ref());
    {
      MutexLock lock(pagemap_mutex_);
      pagemap_.swap(fresh);
    }
    abandoned_ += registry_.abandon(std::move(fresh));
  }
  auto durable = make_durable();
  DeviceContent::CleanMark mark;
  if (durable) {
    auto marked = content_->clean_mark();
    if (marked) {
      mark = *marked;
    } else {
      durable = std::unexpected(std::move(marked).error());
    }
  }
  content_->unmount();
  memory_->unmap();
  if (durable) durable = fault_mark_clean.hit();
  if (durable && mark.clean) durable = pool_.set_clean(record_.serial, true, mark.checksum);
  state_.store(State::kDisabled, std::memory_order_release);
  if (!durable) {
    return fail(durable.err(), fmt::format("{}: removed, but not everything could be written: {}",
                                           record_.name(), durable.error().describe()));
  }
  return {};
}

// Makes durable all that can be; returns the first error.
Result<void> Device::make_durable() {
  Result<void> durable = fault_persist.hit();
  auto persisted = content_->detach(memory_->image(), [this] { return memory_->persist(); });
  return durable ? persisted : durable;
}

void Device::become_leg(Device* volume) {
  assert(state() == State::kDisabled && (volume == nullptr || !is_leg()));
  above_.store(volume, std::memory_order_release);
  // Once the volume is enabled, it is the leg's holder.
  dax_.drop_holder();
  if (volume == nullptr) (void)dax_.set_holder(*holder_);
}

void Device::hold_for_volume() {
  if (volume_holds_.load()) return;
  volume_ref_ = pagemap_->ref().tryget_live();
  volume_holds_.store(static_cast<bool>(volume_ref_));
}

void Device::put_of_volume() {
  volume_ref_.reset();
  volume_holds_.store(false);
}

Media* Device::media_for_volume(Media::Writer writer) {
  const State now = state();
  const bool takes =
      now == State::kLive || (now == State::kDying && writer == Media::Writer::kWriteback);
  return takes ? memory_->media() : nullptr;
}

}  // namespace pmemd

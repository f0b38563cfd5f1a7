#include "core/device/device.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cassert>
#include <utility>

#include "core/base/fault.h"
#include "core/base/memory.h"
#include "core/base/units.h"
#include "core/device/volume_legs.h"
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
      content_(ContentLife::make(*this, pool)),
      dax_(record_.data_bytes()),
      holder_(content_->make_holder()),
      references_(*content_, make_pagemap()),
      handles_(*this, claims()),
      lookups_(*this) {
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
    content_->add_mapped(memory_->data_of(ranges), parts);
  };
  return ops;
}

// Opens the section first, then reads the state: a thread that changes the state and then waits for
// the sections knows that no request of the old state is left.
Result<Device::Request> Device::admit(Admission access, const RequestOrigin& origin) {
  Srcu::ReadSection section = srcu_.read_lock();
  if (const int refused = content_->refusal(access, origin)) return fail(refused);
  return Request(this, std::move(section), references_.table().requests().enter(origin));
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
  health_.reset();
  become_live();
  return {};
}

void Device::become_live() {
  state_.store(State::kLive, std::memory_order_release);
  content_->forget_attributes();
  dax_.set_alive(true);
  handles_.let_open_again();
  if (Device* const volume = above()) volume->memory().take_leg(*this);
}

Result<void> Device::mount_and_publish() {
  PMEMD_TRY(fault_read_clean.hit());
  PMEMD_ASSIGN(const bool clean, pool_.is_clean(record_.serial));
  PMEMD_TRY(fault_content.hit());
  PMEMD_TRY(content_->mount({.media = *memory_->media(),
                             .image = memory_->image(),
                             .clean = clean,
                             .srcu = srcu_,
                             .lookups = lookups_.counts(),
                             .mark_in_use = [this] { return mark_in_use(); }}));
  PMEMD_TRY(publish());
  const MustAllocate published;
  content_->attach(references_.pagemap(), memory_->image());
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
  PMEMD_TRY(memory_->memremap(references_.pagemap()));
  if (auto failed = fault_publish.hit(); !failed) {
    // It was never live: only a lookup can have a reference, for a moment.
    PMEMD_TRY(
        registry_.memunmap_pages(references_.pagemap(), deadline_after(std::chrono::seconds(10))));
    return failed;
  }
  return {};
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
  references_.pagemap().ref().kill();
  return {};
}

void Device::resurrect() {
  const MustAllocate whole;
  assert(state() == State::kDying || state() == State::kDead);
  memory_->resurrect(references_.pagemap());
  become_live();
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

Result<void> Device::release(Deadline deadline, bool abandon) {
  assert(state() == State::kDead);
  PMEMD_TRY(wait_requests(deadline));
  PMEMD_TRY(content_->given().wait_returned(deadline));
  references_.put_of_volume();
  if (!fault_leak.hit()) references_.pagemap().ref().tryget().release();
  PMEMD_TRY(fault_unmap.hit());
  content_->keep_attributes();  // again: writes may have been in progress
  const MustAllocate from_here_on;
  auto unmapped = registry_.memunmap_pages(references_.pagemap(), deadline);
  if (!unmapped) {
    if (unmapped.err() != ETIMEDOUT || !abandon) return unmapped;
    references_.abandon(make_pagemap(), registry_);
  }
  auto durable = make_durable();
  ContentLife::CleanMark mark;
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
  assert(state() == State::kDisabled && (volume == nullptr || above() == nullptr));
  above_.store(volume, std::memory_order_release);
  // Once the volume is enabled, it is the leg's holder.
  dax_.drop_holder();
  if (volume == nullptr && holder_) (void)dax_.set_holder(*holder_);
}

Media* Device::media_for_volume(Media::Writer writer) {
  const State now = state();
  const bool takes =
      now == State::kLive || (now == State::kDying && writer == Media::Writer::kWriteback);
  return takes ? memory_->media() : nullptr;
}

}  // namespace pmemd

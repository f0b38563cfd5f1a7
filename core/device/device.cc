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
FaultPoint fault_format("enable.format", "making the root directory of a new fsdax");
FaultPoint fault_mount("enable.mount", "reading the file system");
FaultPoint fault_volatile("enable.volatile", "zeroing volatile memory, taking system memory");
FaultPoint fault_memremap("enable.memremap", "registering the pagemap");
FaultPoint fault_publish("enable.publish", "the last step; the pagemap is registered");
FaultPoint fault_leak("release.leak", "a reference of the pagemap is never put (doesn't fail)");
FaultPoint fault_unmap("release.unmap", "waiting for references, leaving the registry");
FaultPoint fault_persist("release.persist", "making the image durable");
FaultPoint fault_mark_clean("release.mark-clean", "marking it as disabled in order");

MemoryType memory_type_of(NamespaceMode mode) {
  switch (mode) {
    case NamespaceMode::kFsDax:
      return MemoryType::kFsDax;
    case NamespaceMode::kDevDax:
      return MemoryType::kGeneric;
    case NamespaceMode::kPrivate:
      return MemoryType::kPrivate;
    case NamespaceMode::kP2p:
      return MemoryType::kPciP2pdma;
  }
  return MemoryType::kGeneric;
}

// What a file system or an image tells doesn't say whose it is.
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
    : Device(pool, registry, region.base_address, DeviceRecord(record)) {}

Device::Device(Pool& pool, PagemapRegistry& registry, const VolumeRecord& record,
               std::vector<std::shared_ptr<Device>> legs)
    : Device(pool, registry, 0, DeviceRecord(record)) {
  legs_ = std::make_unique<VolumeLegs>(*this, record, std::move(legs));
}

Device::Device(Pool& pool, PagemapRegistry& registry, uint64_t base_address, DeviceRecord record)
    : pool_(pool),
      registry_(registry),
      record_(std::move(record)),
      base_address_(base_address),
      media_errors_(is_volume() ? nullptr : pool.media_errors(record_.of_namespace().region)),
      volatile_(record_, root_ino()),
      dax_(record_.data_bytes()),
      holder_(make_holder()),
      pagemap_(make_pagemap()),
      references_(pagemap_->ref()),
      mapper_events_(references_.claims()) {}

std::unique_ptr<DevPagemap> Device::make_pagemap() {
  if (is_volume()) {
    return std::make_unique<DevPagemap>(DevPagemap::Setup{
        .name = record_.name(), .type = MemoryType::kFsDax, .ranges = {}, .owner = this});
  }
  const RegionRange range = record_.of_namespace().range;
  return std::make_unique<DevPagemap>(
      DevPagemap::Setup{.name = record_.name(),
                        .type = memory_type_of(record_.mode),
                        .ranges = {PhysRange::sized(base_address_ + range.begin, range.length())},
                        .metadata_bytes = kNamespaceMetadataSize,
                        .ops = pagemap_ops(),
                        .owner = this});
}

// The section is opened first, the state is read second: whoever changes the state and then waits
// for the sections knows that no request of the old state is left.
Result<Device::Request> Device::begin(State last_allowed, const RequestOrigin& origin) {
  Srcu::ReadSection section = srcu_.read_lock();
  const State now = state();
  if ((now != State::kLive && now != last_allowed) || is_leg()) return fail(gone_errno());
  return Request(this, std::move(section), references_.requests().enter(origin));
}

Result<Device::Request> Device::begin_request(const RequestOrigin& origin) {
  if (is_shut_down()) return fail(EIO);
  return begin(State::kLive, origin);
}
Result<Device::Request> Device::begin_writeback(const RequestOrigin& origin) {
  return begin(State::kDying, origin);
}

Result<Device::Request> Device::begin_read(const RequestOrigin& origin) {
  if (is_shut_down()) return fail(EIO);
  auto request = begin(State::kDying, origin);
  // Inside the section: whoever removes the pins and then waits for requests has seen this one.
  if (request && state() != State::kLive && !claims().is_pinned(origin.ino, origin.range) &&
      !(is_p2p() && p2p()->contains(origin.range))) {
    return fail(gone_errno());
  }
  return request;
}

Result<Device::Request> Device::begin_memory(const RequestOrigin& origin) {
  if (volatile_.private_memory() == nullptr) return fail(gone_errno());
  return Request(this, srcu_.read_lock(), references_.requests().enter(origin));
}

Result<Device::Request> Device::begin_media(const RequestOrigin& origin) {
  Srcu::ReadSection section = srcu_.read_lock();
  if (state() != State::kLive) return fail(gone_errno());
  return Request(this, std::move(section), references_.requests().enter(origin));
}

Result<uint64_t> Device::add_handle(OpenHandle handle) {
  const auto id = claims().add_handle(handle.ino, handle.pid, handle.writable,
                                      std::move(handle.charge), handle.noatime);
  if (!id) return fail(gone_errno());
  return *id;
}

void Device::remove_handle(uint64_t id) {
  claims().remove_handle(id);
  mapper_events_.forget_handle(id);
  if (is_p2p()) p2p()->begin_return_of_handle(id);
}

std::map<uint64_t, std::string> Device::paths(const std::map<uint64_t, std::string>& hints) const {
  const std::string device = "/" + record_.device_name();
  std::map<uint64_t, std::string> paths;
  if (!is_fsdax()) {
    for (const auto& [ino, hint] : hints) paths.emplace(ino, device);
    return paths;
  }
  Paths wanted;
  for (const auto& [ino, hint] : hints) {
    const bool is_below = hint.starts_with(device + "/");
    wanted.emplace(ino, is_below ? hint.substr(device.size()) : "");
  }
  const auto found =
      paths_of_inodes(pool_.database(), record_.serial, record_.data_bytes(), wanted);
  if (!found) return paths;
  for (const auto& [ino, hint] : hints) {
    const auto path = found->find(ino);
    if (path == found->end()) {
      paths.emplace(ino, fmt::format("{}/#{} (deleted)", device, ino));
    } else {
      paths.emplace(ino, path->second == "/" ? device : device + path->second);
    }
  }
  return paths;
}

void Device::remove_process(pid_t pid) {
  for (const Reference& gone : claims().remove_process(pid)) {
    mapper_events_.forget(gone.handle, gone.id);
  }
  if (is_p2p()) p2p()->begin_return_of_process(pid);
}

void Device::interrupt_waits() {
  claims().interrupt();
  mapper_events_.interrupt();
  if (is_p2p()) p2p()->interrupt();
}

ReferenceTable::List Device::list_references(size_t limit,
                                             const std::optional<ReferenceFilter>& only) const {
  auto list = references_.list(limit, only);
  volatile_.add_to(list, limit, only);
  if (volume_holds_ && !only) {
    const Reference volume{.kind = ReferenceKind::kVolume, .range = kWholeFile};
    list.references.insert(list.references.begin(), volume);
    list.add_to_counts(volume);
  }
  return list;
}

Result<uint64_t> Device::pin(uint64_t handle, pid_t pid, FileRange range,
                             UserBudget::Charge charge) {
  if (!is_persistent(record_.mode)) return fail(EOPNOTSUPP);
  PMEMD_ASSIGN(const auto request, begin_request());
  auto id = claims().add_pin(handle, pid, range, pagemap_->ref().tryget_live(), std::move(charge));
  if (id.err() == ENODEV) return fail(gone_errno());
  return id;
}

Result<uint64_t> Device::register_mapping(uint64_t handle, pid_t pid, FileRange range,
                                          uint64_t address, UserBudget::Charge charge) {
  auto id = claims().add_mapping(handle, pid, range, address, std::move(charge));
  if (id.err() == ENODEV) return fail(gone_errno());
  return id;
}

Result<uint64_t> Device::take_over(uint64_t handle, pid_t pid, FileRange range,
                                   std::chrono::milliseconds timeout, UserBudget::Charge charge) {
  auto id = claims().add_takeover(handle, pid, range, timeout, std::move(charge));
  if (id.err() == ENODEV) return fail(gone_errno());
  return id;
}

// In this order: whoever tells meanwhile has found the claim and is done, or finds none.
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
  if (!is_fsdax()) return;
  // Not live, or a leg, or no memory: the inode's row waits for the next enable.
  (void)or_no_memory([&]() -> Result<void> {
    if (auto request = begin_request()) request->fs().forget(ino);
    return {};
  });
}

Result<void> Device::enable() {
  if (state() == State::kLive) {
    return fail(EBUSY, fmt::format("{}: already enabled", record_.name()));
  }
  if (state() != State::kDisabled) {
    resurrect();
    return {};
  }
  if (unmapping_.valid()) unmapping_.get();
  auto enabled = or_no_memory([&]() -> Result<void> {
    PMEMD_TRY(map_media());
    return mount_and_publish();
  });
  const MustAllocate until_it_is_live_or_as_before;
  if (!enabled) {
    fs_.reset();
    unmap_media();
    return with_name(record_.name(), std::move(enabled).error());
  }
  last_attributes_.clear();
  lost_writebacks_.store(0, std::memory_order_relaxed);
  shut_down_.store(false, std::memory_order_relaxed);
  state_.store(State::kLive, std::memory_order_release);
  dax_.set_alive(true);
  let_open_again();
  if (is_leg()) above()->legs()->take_one(*this);
  return {};
}

Result<void> Device::map_media() {
  PMEMD_TRY(fault_map.hit());
  if (is_volume()) {
    PMEMD_TRY(legs_->take());
    media_ = legs_->make_media();
    return {};
  }
  PMEMD_ASSIGN(auto image, pool_.map_namespace(record_.of_namespace()));
  auto media = make_media(std::move(image));
  image_ = &media->image();
  media_ = std::move(media);
  return {};
}

void Device::unmap_media() {
  image_ = nullptr;
  if (is_volume()) {
    media_.reset();
    legs_->let_go();
  } else if (media_) {
    // Page tables of a GiB take tens of milliseconds to go, and nobody needs to wait for that. The
    // next enable() does; without a thread for it, it is done there.
    unmapping_ = std::async([media = std::move(media_)]() mutable { media.reset(); });
  }
}

Result<void> Device::mount_and_publish() {
  PMEMD_TRY(fault_read_clean.hit());
  PMEMD_ASSIGN(const bool clean, pool_.is_clean(record_.serial));
  if (is_fsdax() && !is_leg()) {
    PMEMD_ASSIGN(fs_, mount_fs(clean));
  } else {
    PMEMD_TRY(mark_in_use());
  }
  PMEMD_TRY(fault_volatile.hit());
  if (!is_persistent(record_.mode)) PMEMD_TRY(volatile_.prepare(*image_, clean));
  PMEMD_TRY(publish());
  const MustAllocate published;
  if (!is_persistent(record_.mode)) volatile_.attach(*pagemap_, *image_);
  return {};
}

Result<void> Device::mark_in_use() {
  PMEMD_TRY(fault_write_clean.hit());
  return pool_.set_clean(record_.serial, false);
}

Result<std::unique_ptr<FileSystem>> Device::mount_fs(bool clean) {
  // At the first enable; a kill since the namespace was made comes to nothing.
  PMEMD_TRY(fault_format.hit());
  PMEMD_ASSIGN(const bool is_old, FileSystem::is_formatted(pool_.database(), record_.serial));
  if (!is_old) PMEMD_TRY(prepare_superblock(*media_));
  PMEMD_TRY(FileSystem::format(pool_.database(), record_.serial, record_.data_bytes(),
                               {.uid = geteuid(), .gid = getegid()}));
  PMEMD_TRY(fault_mount.hit());
  PMEMD_ASSIGN(const auto checksum, pool_.extents_checksum(record_.serial));
  return FileSystem::mount(
      pool_.database(), *media_, srcu_, lookups_,
      {.serial = record_.serial,
       .clean = clean,
       .extents_checksum = checksum,
       .mark_in_use = [this] { return mark_in_use(); },
       .tolerant = settings().on_metadata == OnMetadata::kDegraded,
       .superblock_elsewhere = is_volume() ? legs_->last_pages() : std::vector<DataRange>()});
}

// Last, since it is what others can see. What a failure leaves is a namespace that isn't marked
// clean: its free space is discarded the next time.
Result<void> Device::publish() {
  PMEMD_TRY(fault_memremap.hit());
  if (is_volume()) {
    pagemap_->ref().reinit();
  } else {
    PMEMD_TRY(registry_.memremap_pages(*pagemap_));
  }
  if (auto failed = fault_publish.hit(); !failed) {
    // Nobody can have a reference of what was never live, save a lookup, for a moment.
    PMEMD_TRY(registry_.memunmap_pages(*pagemap_, deadline_after(std::chrono::seconds(10))));
    return failed;
  }
  return {};
}

void Device::stop_opens() { (void)claims().close(/*only_if_idle=*/false); }

// Nobody opens a leg.
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
    return fail(EBUSY,
                fmt::format("{}: {}", record_.name(), format_count(handle_count(), "open file")));
  }
  state_.store(State::kDying, std::memory_order_release);
  pagemap_->ref().kill();
  return {};
}

Result<uint64_t> Device::migrate_to_ram(Deadline deadline) {
  assert(state() == State::kDying);
  return volatile_.migrate_all_to_ram(deadline);
}

void Device::resurrect() {
  const MustAllocate whole;
  assert(state() == State::kDying || state() == State::kDead);
  if (is_volume()) {
    pagemap_->ref().resurrect();
  } else {
    registry_.resurrect(*pagemap_);
  }
  state_.store(State::kLive, std::memory_order_release);
  last_attributes_.clear();
  dax_.set_alive(true);
  let_open_again();
  if (is_leg()) above()->legs()->take_one(*this);
}

// Outside in: what a volume has let in uses this device's image.
Result<void> Device::wait_requests(Deadline deadline) {
  if (Device* const volume = above()) PMEMD_TRY(volume->wait_requests(deadline));
  return srcu_.synchronize(deadline);
}

void Device::stop_writeback() {
  assert(state() == State::kDying);
  keep_attributes();
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
  // Whoever zeroes a buffer uses the image; so this is never given up.
  if (is_p2p() && !p2p()->wait_returned(deadline)) {
    return fail(ETIMEDOUT, fmt::format("{}: {} not returned", record_.name(),
                                       format_count(p2p()->counts().buffers, "buffer")));
  }
  put_of_volume();
  if (!fault_leak.hit()) pagemap_->ref().tryget().release();
  PMEMD_TRY(fault_unmap.hit());
  keep_attributes();  // again: writes may have been under way
  const MustAllocate from_here_on;
  auto unmapped = registry_.memunmap_pages(*pagemap_, deadline);
  if (!unmapped) {
    if (unmapped.err() != ETIMEDOUT || !abandon) return unmapped;
    // Whoever puts one later puts it on the old pagemap, which stays for that.
    auto fresh = make_pagemap();
    leases().rebind(fresh->ref());
    {
      MutexLock lock(pagemap_mutex_);
      pagemap_.swap(fresh);
    }
    abandoned_ += registry_.abandon(std::move(fresh));
  }
  auto durable = make_durable();
  // Free space that could not be zeroed: the next mount tries again.
  const bool clean = !fs_ || fs_->free_space_is_zero();
  std::optional<uint64_t> checksum;
  if (fs_ && clean && durable) {
    auto sum = fs_->extents_checksum();
    if (sum) {
      checksum = *sum;
    } else {
      durable = std::unexpected(std::move(sum).error());
    }
  }
  fs_.reset();
  unmap_media();
  if (durable) durable = fault_mark_clean.hit();
  if (durable && clean) durable = pool_.set_clean(record_.serial, true, checksum);
  state_.store(State::kDisabled, std::memory_order_release);
  if (!durable) {
    return fail(durable.err(), fmt::format("{}: removed, but not everything could be written: {}",
                                           record_.name(), durable.error().describe()));
  }
  return {};
}

void Device::keep_attributes() {
  if (fs_) last_attributes_.keep(*fs_, claims().open_inodes());
}

// All of it that can be; the first error.
Result<void> Device::make_durable() {
  Result<void> durable = fault_persist.hit();
  if (!is_persistent(record_.mode)) {
    auto detached = volatile_.detach(*image_);
    return durable ? detached : durable;
  }
  auto persisted = is_volume() ? legs_->persist() : image_->persist(0, image_->size_bytes());
  if (!persisted && durable) durable = std::move(persisted);
  if (auto times = fs_ ? fs_->flush_times() : Result<void>(); !times && durable) {
    durable = std::move(times);
  }
  return durable;
}

}  // namespace pmemd

#include "core/device/device.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cassert>
#include <utility>

namespace pmemd {

Device::Device(Pool& pool, PagemapRegistry& registry, const RegionRecord& region,
               NamespaceRecord record)
    : pool_(pool),
      registry_(registry),
      record_(std::move(record)),
      pagemap_(record_.name(), is_fsdax() ? MemoryType::kFsDax : MemoryType::kGeneric,
               phys_range(region), kNamespaceMetadataSize),
      references_(pagemap_.ref()) {}

Device::~Device() { assert(state() == State::kDisabled); }

PhysRange Device::phys_range(const RegionRecord& region) const {
  return PhysRange::sized(region.base_address + record_.range.begin, record_.range.length());
}

// The section is opened first, the state is read second: whoever changes the state and then waits
// for the sections knows that no request of the old state is left.
Result<Device::Request> Device::begin(State last_allowed, const RequestOrigin& origin) {
  Srcu::ReadSection section = srcu_.read_lock();
  const State now = state();
  if (now != State::kLive && now != last_allowed) return fail(gone_errno());
  return Request(this, std::move(section), references_.requests().enter(origin));
}

Result<Device::Request> Device::begin_request(const RequestOrigin& origin) {
  return begin(State::kLive, origin);
}
Result<Device::Request> Device::begin_writeback(const RequestOrigin& origin) {
  return begin(State::kDying, origin);
}

Result<uint64_t> Device::add_handle(const OpenHandle& handle) {
  const auto id = claims().add_handle(handle.ino, handle.pid, handle.writable);
  if (!id) return fail(gone_errno());
  return *id;
}

Result<uint64_t> Device::pin(uint64_t handle, pid_t pid, FileRange range) {
  auto id = claims().add_pin(handle, pid, range, pagemap_.ref().tryget_live());
  if (id.err() == ENODEV) return fail(gone_errno());
  return id;
}

Result<uint64_t> Device::register_mapping(uint64_t handle, pid_t pid, FileRange range,
                                          uint64_t address) {
  auto id = claims().add_mapping(handle, pid, range, address);
  if (id.err() == ENODEV) return fail(gone_errno());
  return id;
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
  // Not live: the inode's row waits for the next enable.
  if (auto request = begin_request()) request->fs().forget(ino);
}

Result<void> Device::enable() {
  if (state() == State::kLive) {
    return fail(EBUSY, fmt::format("{}: already enabled", record_.name()));
  }
  if (state() != State::kDisabled) {
    return fail(EBUSY, fmt::format("{}: its removal has not ended", record_.name()),
                "disable it again: the removal goes on where it stopped");
  }
  PMEMD_ASSIGN(auto image, pool_.map_namespace(record_));
  PMEMD_ASSIGN(const bool clean, pool_.is_clean(record_.serial));
  PMEMD_TRY(pool_.set_clean(record_.serial, false));

  std::unique_ptr<FileSystem> fs;
  if (is_fsdax()) {
    // At the first enable; a kill since the namespace was made comes to nothing.
    PMEMD_TRY(
        FileSystem::format(pool_.database(), record_.serial, {.uid = geteuid(), .gid = getegid()}));
    const FileSystem::Options options = {
        .serial = record_.serial, .clean = clean, .data_offset = kNamespaceMetadataSize};
    PMEMD_ASSIGN(fs, FileSystem::mount(pool_.database(), *image, srcu_, lookups_, options));
  }
  // Last, since it is what others can see; it is undone by itself on failure. What a failure
  // leaves is a namespace that isn't marked clean: its free space is discarded the next time.
  PMEMD_TRY(registry_.memremap_pages(pagemap_));
  image_ = std::move(image);
  fs_ = std::move(fs);
  lost_writebacks_.store(0, std::memory_order_relaxed);
  state_.store(State::kLive, std::memory_order_release);
  claims().open();
  return {};
}

Result<void> Device::kill(bool only_if_idle) {
  if (state() != State::kLive) {
    return fail(ENXIO, fmt::format("{}: not enabled", record_.name()));
  }
  if (!claims().close(only_if_idle)) {
    return fail(EBUSY, fmt::format("{}: {} open files", record_.name(), handle_count()));
  }
  state_.store(State::kDying, std::memory_order_release);
  pagemap_.ref().kill();
  return {};
}

void Device::resurrect() {
  assert(state() == State::kDying);
  pagemap_.ref().resurrect();
  state_.store(State::kLive, std::memory_order_release);
  claims().open();
}

void Device::stop_writeback() {
  assert(state() == State::kDying);
  state_.store(State::kDead, std::memory_order_release);
}

Result<void> Device::release(Deadline deadline) {
  assert(state() == State::kDead);
  PMEMD_TRY(wait_requests(deadline));
  PMEMD_TRY(registry_.memunmap_pages(pagemap_, deadline));

  Result<void> durable = image_->persist(0, image_->size_bytes());
  if (auto times = fs_ ? fs_->flush_times() : Result<void>(); !times && durable) {
    durable = std::move(times);
  }
  fs_.reset();
  image_.reset();
  if (durable) durable = pool_.set_clean(record_.serial, true);
  state_.store(State::kDisabled, std::memory_order_release);
  if (!durable) {
    return fail(durable.err(), fmt::format("{}: removed, but not everything could be written: {}",
                                           record_.name(), durable.error().describe()));
  }
  return {};
}

}  // namespace pmemd

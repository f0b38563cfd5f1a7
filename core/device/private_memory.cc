#include "core/device/private_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

#include "core/base/memory.h"

namespace pmemd {

PrivateMemory::PrivateMemory(std::string name, uint64_t size_bytes, ByteStore& ram)
    : name_(std::move(name)), size_bytes_(size_bytes), ram_(ram), buffer_(kChunkBytes) {
  assert(is_aligned(size_bytes, kPageSize));
}

PrivateMemory::~PrivateMemory() { assert(pagemap_ == nullptr && !has_migration_); }

void PrivateMemory::attach(DevPagemap& pagemap, ByteStore& device) {
  MutexLock lock(mutex_);
  assert(pagemap_ == nullptr && on_device_.empty());
  pagemap_ = &pagemap;
  device_ = &device;
  free_.clear();
  free_.insert({0, size_bytes_});
}

void PrivateMemory::detach() {
  MutexLock lock(mutex_);
  assert(on_device_.empty() && free_.bytes() == size_bytes_);
  pagemap_ = nullptr;
  device_ = nullptr;
}

PhysRange PrivateMemory::to_phys(DataRange pages) const {
  const uint64_t base = pagemap_->range().begin + pagemap_->metadata_bytes();
  return PhysRange::sized(base + pages.begin, pages.length());
}

DataRange PrivateMemory::to_data(PhysRange pages) const {
  const uint64_t base = pagemap_->range().begin + pagemap_->metadata_bytes();
  assert(pages.begin >= base && pages.end - base <= size_bytes_);
  return DataRange::sized(pages.begin - base, pages.length());
}

// --- touches

template <class Act>
Result<void> PrivateMemory::for_each_chunk(FileRange range, Origin origin, Act act) {
  assert(FileRange(0, size_bytes_).contains(range));
  for (uint64_t at = range.begin; at < range.end;) {
    const FileRange chunk{at, std::min(range.end, align_down(at, kPageSize) + kChunkBytes)};
    PhysRange fault;
    DevPagemap* pagemap = nullptr;
    {
      MutexLock lock(mutex_);
      const auto away = on_device_.first_in(chunk.widened_to(kPageSize));
      if (!away) {
        if (origin == Origin::kProgram) migrating_.erase(chunk.widened_to(kPageSize));
        PMEMD_TRY(act(chunk));
        at = chunk.end;
        continue;
      }
      pagemap = pagemap_;
      fault = to_phys(away->device_range());
    }
    // By the time we look again they may be on the device again: retry, as a fault does.
    PMEMD_TRY(pagemap->ops().migrate_to_ram(fault));
  }
  return {};
}

Result<void> PrivateMemory::read(FileRange range, std::span<std::byte> to) {
  assert(to.size() == range.length());
  return for_each_chunk(range, Origin::kProgram, [&](FileRange chunk) {
    return ram_.read(chunk.begin, to.subspan(chunk.begin - range.begin, chunk.length()));
  });
}

Result<void> PrivateMemory::write(uint64_t offset, std::span<const std::byte> from, Origin origin) {
  const auto range = FileRange::sized(offset, from.size());
  return for_each_chunk(range, origin, [&](FileRange chunk) {
    return ram_.write(chunk.begin, from.subspan(chunk.begin - range.begin, chunk.length()));
  });
}

// --- to the device

Result<PrivateMemory::Migration> PrivateMemory::begin_migrate(FileRange range) {
  if (range.empty() || range.end > size_bytes_ || !is_aligned(range.begin, kPageSize) ||
      !is_aligned(range.end, kPageSize)) {
    return fail(EINVAL, fmt::format("{}: only whole pages of the file migrate", name_));
  }
  MutexLock lock(mutex_);
  if (pagemap_ == nullptr || pagemap_->ref().is_dying()) {
    return fail(ENXIO, fmt::format("{}: the device is gone", name_));
  }
  if (has_migration_) return fail(EBUSY, fmt::format("{}: another migration is under way", name_));
  has_migration_ = true;
  migrating_.insert(range);
  while (const auto away = on_device_.first_in(range)) {
    migrating_.erase(away->file_range());
    range.begin = away->file_range().end;
  }
  return Migration(this);
}

void PrivateMemory::end_migration() {
  MutexLock lock(mutex_);
  migrating_.clear();
  has_migration_ = false;
}

uint64_t PrivateMemory::finish_migrate(Migration migration) {
  assert(migration.memory_ == this);
  uint64_t pages = 0;
  for (bool more = true; more;) {
    const Moved moved = migrate_chunk();
    pages += moved.pages;
    more = !moved.is_last;
    if (!moved.in_vain.empty()) put_device_pages(moved.in_vain);
  }
  return pages;
}

PrivateMemory::Moved PrivateMemory::migrate_chunk() {
  MutexLock lock(mutex_);
  const auto first = migrating_.first();
  if (!first) return {.is_last = true};
  FileRange from = migrating_.intersect({*first, *first + kChunkBytes}).front();
  const DataRange to = allocate_device_pages(from.length());
  if (to.empty()) return {.is_last = true};
  const MustAllocate they_are_taken;
  from.end = from.begin + to.length();
  migrating_.erase(from);
  // Pages that can't be copied stay where they are.
  if (!copy_to_device(from, to)) return {.in_vain = to};
  on_device_.insert({from.begin, to.begin, from.length()});
  // A failure only costs memory: when the pages come back, they overwrite what is there.
  (void)ram_.discard(from.begin, from.length());
  return {.pages = from.length() / kPageSize};
}

Result<void> PrivateMemory::copy_to_device(FileRange from, DataRange to) {
  const auto bytes = std::span(buffer_).first(from.length());
  PMEMD_TRY(ram_.read(from.begin, bytes));
  PMEMD_TRY(device_->allocate(to.begin, to.length()));
  return device_->write(to.begin, bytes);
}

DataRange PrivateMemory::allocate_device_pages(uint64_t most) {
  const auto first = free_.first();
  if (!first) return {};
  const DataRange pages = free_.intersect({*first, *first + most}).front();
  // Fails once the pagemap is killed. References and pages are taken under one lock, so a thread
  // that kills first and then looks under the lock sees all pages that there will ever be.
  if (!pagemap_->ref().tryget_live_many(pages.length() / kPageSize)) return {};
  free_.erase(pages);
  return pages;
}

void PrivateMemory::put_device_pages(DataRange pages) {
  DevPagemap* pagemap = nullptr;
  PhysRange phys;
  {
    MutexLock lock(mutex_);
    pagemap = pagemap_;
    phys = to_phys(pages);
  }
  // In this order: after the last put the pagemap may go away, and the device with it.
  pagemap->ops().page_free(phys);
  pagemap->ref().put_many(pages.length() / kPageSize);
}

void PrivateMemory::page_free(PhysRange pages) {
  MutexLock lock(mutex_);
  const DataRange freed = to_data(pages);
  assert(!free_.overlaps(freed) && !on_device_.first_in(freed));
  free_.insert(freed);
}

// --- from the device

Result<bool> PrivateMemory::fault_chunk(DataRange pages) {
  DataRange emptied;
  {
    MutexLock lock(mutex_);
    const auto found = on_device_.first_in(pages);
    if (!found) return false;
    const PageRun run = found->part(0, kChunkBytes);
    const auto bytes = std::span(buffer_).first(run.length);
    PMEMD_TRY(device_->read(run.device, bytes));
    PMEMD_TRY(ram_.write(run.file, bytes));
    on_device_.erase(run);
    emptied = run.device_range();
  }
  put_device_pages(emptied);
  return true;
}

Result<void> PrivateMemory::migrate_to_ram(PhysRange pages) {
  DataRange range;
  {
    MutexLock lock(mutex_);
    if (pagemap_ == nullptr) return {};
    range = to_data(pages);
  }
  for (bool more = true; more;) {
    PMEMD_ASSIGN(more, fault_chunk(range));
  }
  return {};
}

Result<uint64_t> PrivateMemory::migrate_all_to_ram(Deadline deadline) {
  uint64_t pages = 0;
  while (true) {
    PhysRange chunk;
    DevPagemap* pagemap = nullptr;
    {
      MutexLock lock(mutex_);
      const auto away = on_device_.first_in(FileRange{0, size_bytes_});
      if (!away) return pages;
      pagemap = pagemap_;
      chunk = to_phys(away->part(0, kChunkBytes).device_range());
    }
    if (Clock::now() >= deadline) {
      return fail(ETIMEDOUT, fmt::format("{}: {} pages are on the device still", name_,
                                         counts().device_pages));
    }
    if (auto moved = pagemap->ops().migrate_to_ram(chunk); !moved) {
      return fail(moved.err(), fmt::format("{}: {} pages can't come back to system memory: {}",
                                           name_, counts().device_pages, moved.error().describe()));
    }
    pages += chunk.length() / kPageSize;
  }
}

// --- looks

PrivateMemory::Counts PrivateMemory::counts() const {
  MutexLock lock(mutex_);
  return {.device_pages = on_device_.bytes() / kPageSize,
          .migrating_pages = migrating_.bytes() / kPageSize,
          .free_pages = free_.bytes() / kPageSize,
          .runs = on_device_.count()};
}

std::vector<FileRange> PrivateMemory::device_ranges(size_t limit) const {
  std::vector<FileRange> ranges;
  FileRange rest{0, size_bytes_};
  MutexLock lock(mutex_);
  while (ranges.size() < limit) {
    const auto away = on_device_.first_in(rest);
    if (!away) break;
    rest.begin = away->file_range().end;
    // Runs adjacent in the file need not be adjacent on the device.
    if (!ranges.empty() && ranges.back().end == away->file) {
      ranges.back().end = rest.begin;
    } else {
      ranges.push_back(away->file_range());
    }
  }
  return ranges;
}

}  // namespace pmemd

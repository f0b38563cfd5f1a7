// Regions of a pool: making, destroying.
//
// In the order of core/pool/life.h:
//   create:  label, not live, durable → image, durable → label live, durable
//   destroy: namespaces → label not live, without bad ranges, durable → image removed, durable →
//            label deleted
// So every image has a label. Namespaces go first, each as when destroyed alone: a region that is
// not live is empty.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "core/base/fault.h"
#include "core/base/memory.h"
#include "core/pool/life.h"
#include "core/pool/placement.h"
#include "core/pool/pool.h"
#include "core/pool/pool_directory.h"

namespace pmemd {
namespace {

FaultPoint fault_mark("destroy-region.mark", "making it one that doesn't exist");
FaultPoint fault_image("destroy-region.image", "removing its image");
FaultPoint fault_delete_label("destroy-region.label", "giving its id and addresses back");

}  // namespace

Result<RegionRecord> Pool::reserve_region(uint64_t size, Reservation reservation,
                                          std::optional<uint64_t> base) {
  MutexLock lock(mutex_);
  RegionRecord region{.id = 0, .size_bytes = size, .reservation = reservation};
  PMEMD_ASSIGN(region.base_address, place_region(labels_.regions, size, base));
  auto behind = labels_.regions.begin();  // by id
  for (; behind != labels_.regions.end() && behind->record.id == region.id; ++behind) ++region.id;
  const std::string image = image_path(path_, region.id);
  if (::access(image.c_str(), F_OK) == 0) {
    return fail(EEXIST, image + ": is there, but no region's", "move it away");
  }
  const RegionLabel label{region, false};
  ++region_changes_;
  Transaction transaction(*database_);
  PMEMD_TRY(transaction.begin());
  PMEMD_TRY(insert_region(*database_, label));
  PMEMD_TRY(transaction.commit());
  const MustAllocate committed;
  labels_.regions.insert(behind, label);
  return region;
}

// As Life::show(), but the image shows with the label.
Result<void> Pool::make(const RegionRecord& region) {
  PMEMD_ASSIGN(ImageFile made, ImageFile::create(image_path(path_, region.id), region.size_bytes,
                                                 region.reservation));
  auto image = std::make_shared<ImageFile>(std::move(made));
  PMEMD_TRY(sync_directory(path_));
  PMEMD_ASSIGN(auto errors, MediaErrors::load(*database_, region.id));
  Life life(*this, region);
  PMEMD_TRY(life.mark_live());
  PMEMD_TRY(database_->sync());
  const MustAllocate committed;
  MutexLock lock(mutex_);
  images_.emplace(region.id, std::move(image));
  media_errors_.emplace(region.id, std::move(errors));
  life.label_in(labels_)->live = true;
  return {};
}

Result<RegionRecord> Pool::create_region(uint64_t size, Reservation reservation,
                                         std::optional<uint64_t> base) {
  PMEMD_TRY(check_size("region", size));
  finish_erasures();
  PMEMD_ASSIGN(const RegionRecord region, reserve_region(size, reservation, base));
  PMEMD_TRY(Life(*this, region).create());
  return region;
}

Result<void> Pool::destroy_region(const RegionRecord& region,
                                  const std::vector<uint64_t>& serials) {
  finish_erasures();
  PMEMD_TRY(close_region(region, serials));
  auto unlisted = or_no_memory([&] { return empty_and_unlist(region, serials); });
  {
    MutexLock lock(mutex_);
    closed_.erase(region.id);
  }
  if (!unlisted) return unlisted;
  return Life(*this, region).erase_or_note();
}

Result<void> Pool::close_region(const RegionRecord& region, const std::vector<uint64_t>& serials) {
  MutexLock lock(mutex_);
  const RegionLabel* const label = labels_.find_region(region.id);
  if (label == nullptr || !label->live || closed_.contains(region.id)) {
    return no_such<RegionRecord>(region.name());
  }
  for (const auto& [record, live] : labels_.namespaces) {
    if (record.region != region.id) continue;
    if (!live) {
      return fail(EBUSY,
                  fmt::format("{}: {} is being made or destroyed", region.name(), record.name()),
                  "try again");
    }
    if (std::ranges::find(serials, record.serial) == serials.end()) {
      return fail(EBUSY, fmt::format("{}: {} is in it", region.name(), record.name()),
                  "pmemctl destroy-namespace " + record.name());
    }
    if (const VolumeLabel* const volume = labels_.volume_of(record.serial)) {
      return fail(
          EBUSY,
          fmt::format("{}: {} is a leg of {}", region.name(), record.name(), volume->record.name()),
          "pmemctl destroy-volume " + volume->record.name());
    }
  }
  closed_.insert(region.id);
  return {};
}

Result<void> Pool::empty_and_unlist(const RegionRecord& region,
                                    const std::vector<uint64_t>& serials) {
  std::vector<NamespaceRecord> with = namespaces();
  std::erase_if(with, [&](const NamespaceRecord& record) {
    return record.region != region.id || std::ranges::find(serials, record.serial) == serials.end();
  });
  std::optional<MustAllocate> begun;
  for (const NamespaceRecord& record : with) {
    PMEMD_TRY(destroy_namespace(record));
    begun.emplace();
  }
  return unlist_region(region);
}

Result<void> Pool::unlist_region(const RegionRecord& region) {
  const auto errors = media_errors(region.id);
  errors->close();
  Life life(*this, region);
  const auto mark = [&]() -> Result<void> {
    PMEMD_TRY(fault_mark.hit());
    return life.mark_not_live();
  };
  if (auto marked = or_no_memory(mark); !marked) {
    errors->reopen();
    return marked;
  }
  const MustAllocate committed;
  MutexLock lock(mutex_);
  ++region_changes_;
  life.label_in(labels_)->live = false;
  images_.erase(region.id);
  media_errors_.erase(region.id);
  return {};
}

Result<void> Pool::erase(const RegionRecord& region) {
  PMEMD_TRY(database_->sync());
  PMEMD_TRY(fault_image.hit());
  const std::string image = image_path(path_, region.id);
  if (::unlink(image.c_str()) != 0 && errno != ENOENT) return fail_errno(image);
  PMEMD_TRY(sync_directory(path_));
  PMEMD_TRY(fault_delete_label.hit());
  return Life(*this, region).delete_label();
}

}  // namespace pmemd

// Regions of a pool: making, destroying.
//
// The order of the steps makes a kill or a power loss at any point harmless:
//   create:  label, not live, durable → image, durable → label live, durable
//   destroy: namespaces → label not live, without bad ranges, durable → image removed, durable →
//            label deleted
// A label that is not live reserves its id and its addresses, and the next open continues with the
// removal of its image. So every image has a label. Namespaces go first, each as when destroyed
// alone: a region that is not live is empty.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "core/base/fault.h"
#include "core/base/memory.h"
#include "core/pool/placement.h"
#include "core/pool/pool.h"
#include "core/pool/pool_directory.h"

namespace pmemd {
namespace {

FaultPoint fault_mark("destroy-region.mark", "making it one that doesn't exist");
FaultPoint fault_image("destroy-region.image", "removing its image");
FaultPoint fault_delete_label("destroy-region.label", "giving its id and addresses back");

std::vector<RegionLabel>::iterator find(Labels& labels, uint32_t region) {
  return std::ranges::find(labels.regions, region,
                           [](const RegionLabel& label) { return label.record.id; });
}

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

Result<void> Pool::make_region(const RegionRecord& region) {
  PMEMD_TRY(database_->sync());
  PMEMD_ASSIGN(ImageFile made, ImageFile::create(image_path(path_, region.id), region.size_bytes,
                                                 region.reservation));
  auto image = std::make_shared<ImageFile>(std::move(made));
  PMEMD_TRY(sync_directory(path_));
  PMEMD_ASSIGN(auto errors, MediaErrors::load(*database_, region.id));
  PMEMD_TRY(change("UPDATE regions SET live = 1 WHERE id = ?", {region.id}));
  PMEMD_TRY(database_->sync());
  const MustAllocate committed;
  MutexLock lock(mutex_);
  images_.emplace(region.id, std::move(image));
  media_errors_.emplace(region.id, std::move(errors));
  find(labels_, region.id)->live = true;
  return {};
}

Result<RegionRecord> Pool::create_region(uint64_t size, Reservation reservation,
                                         std::optional<uint64_t> base) {
  PMEMD_TRY(check_size("region", size));
  finish_erasures();
  PMEMD_ASSIGN(const RegionRecord region, reserve_region(size, reservation, base));
  if (auto made = or_no_memory([&] { return make_region(region); }); !made) {
    // If this fails, the next open does it.
    const MustAllocate as_before;
    const auto unmark = [&] {
      return change("UPDATE regions SET live = 0 WHERE id = ?", {region.id});
    };
    if (or_no_memory(unmark)) (void)drop_or_note(region);
    return std::unexpected(std::move(made).error());
  }
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
  return drop_or_note(region);
}

Result<void> Pool::close_region(const RegionRecord& region, const std::vector<uint64_t>& serials) {
  MutexLock lock(mutex_);
  const auto label = find(labels_, region.id);
  if (label == labels_.regions.end() || !label->live || closed_.contains(region.id)) {
    return fail(ENOENT, region.name() + ": there is no such region", "list -R shows them");
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

// Deletes bad ranges in the same step: code that still holds them must find no row to write to.
Result<void> Pool::unlist_region(const RegionRecord& region) {
  const auto errors = media_errors(region.id);
  errors->close();
  const auto mark = [&]() -> Result<void> {
    PMEMD_TRY(fault_mark.hit());
    Transaction transaction(*database_);
    PMEMD_TRY(transaction.begin());
    for (const char* const sql :
         {"DELETE FROM badblocks WHERE region = ?", "UPDATE regions SET live = 0 WHERE id = ?"}) {
      PMEMD_ASSIGN(Statement statement, database_->prepare(sql));
      PMEMD_TRY(statement.bind(0, region.id).run());
    }
    return transaction.commit();
  };
  if (auto marked = or_no_memory(mark); !marked) {
    errors->reopen();
    return marked;
  }
  const MustAllocate committed;
  MutexLock lock(mutex_);
  ++region_changes_;
  find(labels_, region.id)->live = false;
  images_.erase(region.id);
  media_errors_.erase(region.id);
  return {};
}

Result<void> Pool::drop_or_note(const RegionRecord& region) {
  const MustAllocate dropped_or_noted;
  auto dropped = or_no_memory([&] { return drop_region(region); });
  if (dropped) return dropped;
  MutexLock lock(mutex_);
  half_dropped_.push_back(region);
  return fail(dropped.err(),
              fmt::format("{}: destroyed, but its image is still there: {}", region.name(),
                          dropped.error().describe()),
              "the next create-region, or the next start, tries again");
}

Result<void> Pool::drop_region(const RegionRecord& region) {
  PMEMD_TRY(database_->sync());
  PMEMD_TRY(fault_image.hit());
  const std::string image = image_path(path_, region.id);
  if (::unlink(image.c_str()) != 0 && errno != ENOENT) return fail_errno(image);
  PMEMD_TRY(sync_directory(path_));
  PMEMD_TRY(fault_delete_label.hit());
  PMEMD_TRY(change("DELETE FROM regions WHERE id = ?", {region.id}));
  MutexLock lock(mutex_);
  labels_.regions.erase(find(labels_, region.id));
  return {};
}

}  // namespace pmemd

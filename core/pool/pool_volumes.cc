// Volumes of a pool: making, destroying.
//
// In the order of core/pool/life.h, each step durable before the next:
//   create:  label, not live → bytes of the legs zeroed, their rows deleted → label live
//   destroy: label not live → bytes of the legs zeroed → rows and label deleted
// A leg that becomes free is an empty file system, however its volume ended: its data is zeros, and
// without a root directory the next enable makes one.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/base/fault.h"
#include "core/base/memory.h"
#include "core/base/units.h"
#include "core/pool/life.h"
#include "core/pool/pool.h"
#include "core/pool/schema.h"

namespace pmemd {
namespace {

FaultPoint fault_label("create-volume.label", "taking the legs");
FaultPoint fault_zero_legs("create-volume.zero", "zeroing the legs, deleting what they were");
FaultPoint fault_mark_live("create-volume.mark-live", "making it one that exists");
FaultPoint fault_mark("destroy-volume.mark", "making it one that doesn't exist");
FaultPoint fault_zero("destroy-volume.zero", "zeroing the bytes of its legs");
FaultPoint fault_rows("destroy-volume.rows", "deleting its inodes");
FaultPoint fault_delete_label("destroy-volume.label", "giving its legs back");

uint32_t lowest_free_volume_id(const Labels& labels) {
  uint32_t id = 0;
  const auto taken = [&](const VolumeLabel& label) { return label.record.id == id; };
  while (std::ranges::any_of(labels.volumes, taken)) ++id;
  return id;
}

// Adds the parts of namespaces that a range of a namespace or volume maps to, in no particular
// order.
void add_namespaces(const Labels& labels, uint64_t serial, DataRange range,
                    std::vector<Pool::NamespaceRange>& found) {
  if (const NamespaceLabel* const label = labels.find_namespace(serial)) {
    found.push_back({label->record, range});
    return;
  }
  const VolumeLabel* const volume = labels.find_volume(serial);
  if (volume == nullptr) return;
  for (const auto& [leg, part] : volume->record.table.map_by_leg(range)) {
    add_namespaces(labels, volume->record.legs[leg], part, found);
  }
}

}  // namespace

std::optional<VolumeRecord> Pool::volume_of(uint64_t leg) const {
  MutexLock lock(mutex_);
  const VolumeLabel* const label = labels_.volume_of(leg);
  if (label == nullptr) return std::nullopt;
  return label->record;
}

std::vector<Pool::NamespaceRange> Pool::namespaces_under(uint64_t serial, DataRange range) const {
  MutexLock lock(mutex_);
  std::vector<NamespaceRange> found;
  add_namespaces(labels_, serial, range, found);
  return found;
}

Result<bool> Pool::has_files(uint64_t serial) const {
  MutexLock lock(database_->mutex());
  PMEMD_ASSIGN(Statement select,
               database_->prepare("SELECT 1 FROM inodes WHERE ino > ? AND ino < ? AND nlink > 0"
                                  " LIMIT 1"));
  select.bind(0, static_cast<int64_t>(make_inode_number(serial, kRootIndex)))
      .bind(1, static_cast<int64_t>(make_inode_number(serial + 1, 0)));
  return select.step();
}

Result<std::string> Pool::check_leg(uint64_t serial) const {
  const NamespaceLabel* const space = labels_.find_namespace(serial);
  const VolumeLabel* const volume = labels_.find_volume(serial);
  if (!(space != nullptr && space->live) && !(volume != nullptr && volume->live)) {
    return fail(ENOENT, fmt::format("there is no namespace or volume of serial {}", serial));
  }
  std::string name = space != nullptr ? space->record.name() : volume->record.name();
  if (space != nullptr && space->record.mode != NamespaceMode::kFsDax) {
    return fail(EINVAL, fmt::format("{}: it is {}", name, to_string(space->record.mode)),
                "legs are fsdax namespaces or volumes");
  }
  if (const VolumeLabel* const owner = labels_.volume_of(serial)) {
    return fail(EBUSY, fmt::format("{}: it is a leg of {}", name, owner->record.name()),
                "pmemctl destroy-volume " + owner->record.name());
  }
  return name;
}

Result<VolumeRecord> Pool::reserve_volume(VolumeType type, uint64_t chunk_bytes,
                                          const std::vector<uint64_t>& legs) {
  MutexLock lock(mutex_);
  VolumeLabel label;
  std::vector<uint64_t> sizes;
  sizes.reserve(legs.size());
  for (const uint64_t leg : legs) {
    PMEMD_ASSIGN(const std::string name, check_leg(leg));
    if (std::ranges::count(legs, leg) > 1) {
      return fail(EINVAL, name + ": named twice", "each leg is one of the volume's, once");
    }
    PMEMD_ASSIGN(const bool used, has_files(leg));
    if (used) {
      return fail(ENOTEMPTY, name + ": it has files, which a volume would overwrite",
                  "remove them first");
    }
    sizes.push_back(labels_.data_bytes(leg));
  }
  PMEMD_ASSIGN(label.record.table, VolumeTable::make(type, chunk_bytes, std::move(sizes)));
  label.record.legs = legs;
  label.record.id = lowest_free_volume_id(labels_);
  label.record.uuid = make_uuid();
  Transaction transaction(*database_);
  PMEMD_TRY(transaction.begin());
  PMEMD_ASSIGN(label.record.serial, take_serial(*database_));
  PMEMD_TRY(insert_volume(*database_, label));
  PMEMD_TRY(transaction.commit());
  const MustAllocate committed;
  labels_.volumes.push_back(label);  // its serial is the highest
  return label.record;
}

Result<void> Pool::zero_legs(const VolumeRecord& record) {
  std::vector<NamespaceRange> parts;
  {
    MutexLock lock(mutex_);
    // All of each leg, not only the part that a striped volume uses: its superblock was elsewhere.
    for (const uint64_t leg : record.legs) {
      add_namespaces(labels_, leg, {0, labels_.data_bytes(leg)}, parts);
    }
  }
  for (const auto& [space, range] : parts) {
    PMEMD_ASSIGN(const auto image, map(space.region, space.in_region({0, space.data_bytes()})));
    PMEMD_TRY(image->discard(range.begin, range.length()));
    PMEMD_TRY(image->persist(range.begin, range.length()));
  }
  return {};
}

// The legs have at most orphans, no files.
Result<void> Pool::make(const VolumeRecord& record) {
  PMEMD_TRY(fault_zero_legs.hit());
  PMEMD_TRY(zero_legs(record));
  for (const uint64_t leg : record.legs) PMEMD_TRY(delete_inodes(leg));
  PMEMD_TRY(fault_mark_live.hit());
  return Life(*this, record).show();
}

Result<VolumeRecord> Pool::create_volume(VolumeType type, uint64_t chunk_bytes,
                                         const std::vector<uint64_t>& legs) {
  finish_erasures();
  PMEMD_TRY(fault_label.hit());
  PMEMD_ASSIGN(VolumeRecord record, reserve_volume(type, chunk_bytes, legs));
  PMEMD_TRY(Life(*this, record).create());
  return record;
}

Result<void> Pool::destroy_volume(const VolumeRecord& record) {
  finish_erasures();
  PMEMD_TRY(fault_mark.hit());
  return Life(*this, record).destroy();
}

Result<void> Pool::erase(const VolumeRecord& record) {
  PMEMD_TRY(database_->sync());
  PMEMD_TRY(fault_zero.hit());
  PMEMD_TRY(zero_legs(record));
  PMEMD_TRY(fault_rows.hit());
  PMEMD_TRY(delete_inodes(record.serial));
  PMEMD_TRY(settings_->erase(record.serial));
  PMEMD_TRY(fault_delete_label.hit());
  return Life(*this, record).delete_label();
}

}  // namespace pmemd

// Namespaces of a pool: making, destroying, mapping.
//
// In the order of core/pool/life.h:
//   create:  label, not live, durable → info block, durable → label live, durable
//   destroy: label not live, durable → bytes zeroed, durable → rows and label deleted
// So a range is free only when it is zero, and no label is live without its info block. The last
// deletion need not be durable: the next namespace in the range makes it so with its own label,
// which follows it in the WAL.
#include <fmt/format.h>
#include <uuid/uuid.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "core/base/fault.h"
#include "core/base/memory.h"
#include "core/base/units.h"
#include "core/pool/info_block.h"
#include "core/pool/life.h"
#include "core/pool/placement.h"
#include "core/pool/pool.h"
#include "core/pool/schema.h"

namespace pmemd {
namespace {

FaultPoint fault_label("create.label", "taking a place for the namespace");
FaultPoint fault_info_block("create.info-block", "writing what the namespace is");
FaultPoint fault_mark_live("create.mark-live", "making it one that exists");
FaultPoint fault_mark("destroy.mark", "making it one that doesn't exist");
FaultPoint fault_zero("destroy.zero", "zeroing its bytes");
FaultPoint fault_rows("destroy.rows", "deleting its inodes");
FaultPoint fault_delete_label("destroy.label", "giving its place back");

uint32_t lowest_free_id(const Labels& labels, uint32_t region) {
  uint32_t id = 0;
  for (const auto& [record, live] : labels.namespaces) {  // by id
    if (record.region == region && record.id == id) ++id;
  }
  return id;
}

std::unexpected<Error> no_room(const CreateNamespace& want, uint64_t largest) {
  const std::string where =
      want.region ? RegionRecord{.id = *want.region}.name() : std::string("all regions");
  return fail(ENOSPC,
              fmt::format("{}: no free extent of {} (the largest has {})", where,
                          format_size(want.size_bytes.value_or(kNamespaceSizeMin)),
                          largest == 0 ? "0 B" : format_size(largest)),
              "ask for less, destroy a namespace, or create a region");
}

}  // namespace

Result<NamespaceRecord> Pool::reserve_namespace(const CreateNamespace& want) {
  MutexLock lock(mutex_);
  NamespaceRecord record;
  uint64_t largest = 0;
  bool found_region = false;
  for (const auto& [region, live] : labels_.regions) {
    if (!live || closed_.contains(region.id)) continue;
    if (want.region && *want.region != region.id) continue;
    found_region = true;
    const auto free = labels_.free_extents(region);
    if (const auto most = place(free, {}, want.align)) largest = std::max(largest, most->length());
    const auto range = place(free, want.size_bytes, want.align);
    if (!range || range->length() <= record.range.length()) continue;
    record.region = region.id;
    record.range = *range;
    if (want.size_bytes) break;
  }
  if (want.region && !found_region) {
    return fail(ENOENT, fmt::format("region{}: there is no such region", *want.region),
                "list -R shows them");
  }
  if (record.range.empty()) return no_room(want, largest);

  record.id = lowest_free_id(labels_, record.region);
  record.mode = want.mode;
  record.align = want.align;
  record.uuid = make_uuid();
  NamespaceLabel label{std::move(record), false};
  Transaction transaction(*database_);
  PMEMD_TRY(transaction.begin());
  PMEMD_ASSIGN(label.record.serial, take_serial(*database_));
  PMEMD_TRY(insert_namespace(*database_, label));
  PMEMD_TRY(transaction.commit());
  const MustAllocate committed;
  const auto behind = std::ranges::find_if(labels_.namespaces, [&](const NamespaceLabel& other) {
    return std::pair(other.record.region, other.record.id) >
           std::pair(label.record.region, label.record.id);
  });
  labels_.namespaces.insert(behind, label);
  return label.record;
}

Result<void> Pool::write_info_block(const NamespaceRecord& record) {
  const RegionRange metadata = RegionRange::sized(record.range.begin, kNamespaceMetadataSize);
  PMEMD_ASSIGN(const auto image, map(record.region, metadata));
  PMEMD_TRY(image->allocate(kInfoBlockOffset, kInfoBlockSize));
  PMEMD_TRY(image->write(kInfoBlockOffset, encode_info_block(make_info_block(uuid_, record))));
  return image->persist(kInfoBlockOffset, kInfoBlockSize);
}

Result<void> Pool::make(const NamespaceRecord& record) {
  PMEMD_TRY(fault_info_block.hit());
  PMEMD_TRY(write_info_block(record));
  PMEMD_TRY(fault_mark_live.hit());
  return Life(*this, record).show();
}

Result<NamespaceRecord> Pool::create_namespace(const CreateNamespace& want) {
  if (want.size_bytes) PMEMD_TRY(check_size("namespace", *want.size_bytes));
  PMEMD_TRY(check_align(want.align));
  finish_erasures();
  PMEMD_TRY(fault_label.hit());
  PMEMD_ASSIGN(NamespaceRecord record, reserve_namespace(want));
  PMEMD_TRY(Life(*this, record).create());
  return record;
}

Result<void> Pool::destroy_namespace(const NamespaceRecord& record) {
  finish_erasures();
  PMEMD_TRY(fault_mark.hit());
  return Life(*this, record).destroy();
}

Result<void> Pool::erase(const NamespaceRecord& record) {
  PMEMD_TRY(database_->sync());
  PMEMD_TRY(fault_zero.hit());
  PMEMD_ASSIGN(const auto image, map(record.region, record.range));
  PMEMD_TRY(image->discard(0, image->size_bytes()));
  PMEMD_TRY(image->persist(0, image->size_bytes()));
  PMEMD_TRY(fault_rows.hit());
  PMEMD_TRY(delete_inodes(record.serial));
  PMEMD_TRY(settings_->erase(record.serial));
  PMEMD_TRY(fault_delete_label.hit());
  return Life(*this, record).delete_label();
}

// In transactions of bounded size: one for a million files would make a WAL of hundreds of MiB.
Result<void> Pool::delete_inodes(uint64_t serial) {
  constexpr uint64_t kRowsAtOnce = 20000;
  constexpr std::array kDeletions = {
      "DELETE FROM dirents WHERE cookie IN"
      " (SELECT cookie FROM dirents WHERE parent >= ?1 AND parent < ?2 LIMIT ?3)",
      "DELETE FROM extents WHERE (ino, file_offset) IN"
      " (SELECT ino, file_offset FROM extents WHERE ino >= ?1 AND ino < ?2 LIMIT ?3)",
      "DELETE FROM xattrs WHERE (ino, name) IN"
      " (SELECT ino, name FROM xattrs WHERE ino >= ?1 AND ino < ?2 LIMIT ?3)",
      "DELETE FROM inodes WHERE ino IN"
      " (SELECT ino FROM inodes WHERE ino >= ?1 AND ino < ?2 LIMIT ?3)",
  };
  const uint64_t begin = make_inode_number(serial, 0);
  const uint64_t end = make_inode_number(serial + 1, 0);
  for (const char* const sql : kDeletions) {
    int64_t deleted = 0;
    do {
      PMEMD_ASSIGN(deleted, change(sql, {begin, end, kRowsAtOnce}));
    } while (deleted > 0);
  }
  PMEMD_TRY(change("DELETE FROM extent_checksums WHERE serial = ?", {serial}));
  return {};
}

Result<std::unique_ptr<MappedImage>> Pool::map_namespace(const NamespaceRecord& record) {
  {
    MutexLock lock(mutex_);
    const NamespaceLabel* const label = labels_.find_namespace(record.serial);
    if (label == nullptr || !label->live) return no_such<NamespaceRecord>(record.name());
  }
  PMEMD_ASSIGN(auto image, map(record.region, record.range));
  const auto info_block = RegionRange::sized(record.range.begin + kInfoBlockOffset, kInfoBlockSize);
  if (const auto errors = media_errors(record.region); errors && errors->is_bad(info_block)) {
    return fail(EIO, record.name() + ": its info block is poisoned",
                fmt::format("pmemctl clear-errors region{}", record.region));
  }
  std::array<std::byte, kInfoBlockSize> bytes;
  if (!image->read(kInfoBlockOffset, bytes)) {
    return fail(EIO, record.name() + ": its info block can't be read", "check the host's disk");
  }
  const auto block = decode_info_block(bytes);
  if (!block) {
    return fail(
        block.err(), record.name() + ": " + block.error().message,
        block.error().hint.empty() ? "restore the image from a backup" : block.error().hint);
  }
  if (*block != make_info_block(uuid_, record)) {
    return fail(EIO, record.name() + ": its info block is another namespace's",
                "pool.db and the image don't belong together: restore both from one backup");
  }
  image->set_mark(kInfoBlockOffset, {bytes.begin(), bytes.end()});
  return image;
}

}  // namespace pmemd

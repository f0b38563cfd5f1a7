#include "core/region/labels.h"

#include <fmt/format.h>
#include <uuid/uuid.h>

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "core/base/units.h"
#include "core/region/schema.h"

namespace pmemd {
namespace {

bool is_uuid(const std::string& text) {
  uuid_t ignored;
  return uuid_parse(text.c_str(), ignored) == 0;
}

Result<uint32_t> to_id(int64_t value, std::string_view table) {
  if (value < 0 || value > std::numeric_limits<uint32_t>::max()) {
    return fail(EIO, fmt::format("pool.db: {}: id {} is out of range", table, value),
                "restore it from a backup; the images are untouched");
  }
  return static_cast<uint32_t>(value);
}

Result<void> load_regions(Database& database, Labels& labels) {
  PMEMD_ASSIGN(Statement rows,
               database.prepare("SELECT id, size, base, sparse, live FROM regions ORDER BY id"));
  for (;;) {
    PMEMD_ASSIGN(const bool row, rows.step());
    if (!row) return {};
    RegionLabel label;
    PMEMD_ASSIGN(label.record.id, to_id(rows.column_int(0), "regions"));
    label.record.size_bytes = static_cast<uint64_t>(rows.column_int(1));
    label.record.base_address = static_cast<uint64_t>(rows.column_int(2));
    label.record.reservation =
        rows.column_int(3) != 0 ? Reservation::kSparse : Reservation::kReserved;
    label.live = rows.column_int(4) != 0;
    labels.regions.push_back(label);
  }
}

Result<void> load_namespaces(Database& database, Labels& labels) {
  PMEMD_ASSIGN(Statement rows,
               database.prepare("SELECT serial, region, id, uuid, mode, start, size, align, live"
                                " FROM namespaces ORDER BY region, id"));
  for (;;) {
    PMEMD_ASSIGN(const bool row, rows.step());
    if (!row) return {};
    NamespaceLabel label;
    NamespaceRecord& record = label.record;
    record.serial = static_cast<uint64_t>(rows.column_int(0));
    PMEMD_ASSIGN(record.region, to_id(rows.column_int(1), "namespaces"));
    PMEMD_ASSIGN(record.id, to_id(rows.column_int(2), "namespaces"));
    record.uuid = rows.column_text(3);
    const auto mode = parse_namespace_mode(rows.column_text(4));
    if (!mode) return fail(EIO, "pool.db: " + record.name() + ": " + mode.error().message);
    record.mode = *mode;
    // Wrapped around if the size is nonsense, which check_labels() sees.
    record.range = RegionRange::sized(static_cast<uint64_t>(rows.column_int(5)),
                                      static_cast<uint64_t>(rows.column_int(6)));
    record.align = static_cast<uint64_t>(rows.column_int(7));
    label.live = rows.column_int(8) != 0;
    labels.namespaces.push_back(std::move(label));
  }
}

Result<std::vector<uint64_t>> load_legs(Database& database, uint64_t volume) {
  PMEMD_ASSIGN(Statement rows, database.prepare("SELECT leg FROM volume_legs WHERE volume = ?"
                                                " ORDER BY position"));
  rows.bind(0, static_cast<int64_t>(volume));
  std::vector<uint64_t> legs;
  for (;;) {
    PMEMD_ASSIGN(const bool row, rows.step());
    if (!row) return legs;
    legs.push_back(static_cast<uint64_t>(rows.column_int(0)));
  }
}

// Behind the namespaces, since its size comes from its legs.
Result<void> load_volumes(Database& database, Labels& labels) {
  // A pool of version 2, opened read-only, has none.
  PMEMD_ASSIGN(Statement version,
               database.prepare("SELECT 1 FROM sqlite_master WHERE name = 'volumes'"));
  PMEMD_ASSIGN(const bool has_volumes, version.step());
  if (!has_volumes) return {};
  PMEMD_ASSIGN(Statement rows,
               database.prepare("SELECT serial, id, uuid, type, chunk, live FROM volumes"
                                " ORDER BY serial"));
  for (;;) {
    PMEMD_ASSIGN(const bool row, rows.step());
    if (!row) return {};
    VolumeLabel label;
    VolumeRecord& record = label.record;
    record.serial = static_cast<uint64_t>(rows.column_int(0));
    PMEMD_ASSIGN(record.id, to_id(rows.column_int(1), "volumes"));
    record.uuid = rows.column_text(2);
    const auto chunk = static_cast<uint64_t>(rows.column_int(4));
    label.live = rows.column_int(5) != 0;
    PMEMD_ASSIGN(record.legs, load_legs(database, record.serial));
    std::vector<uint64_t> sizes;
    sizes.reserve(record.legs.size());
    for (const uint64_t leg : record.legs) sizes.push_back(labels.data_bytes(leg));
    const auto type = parse_volume_type(rows.column_text(3));
    auto table = type ? VolumeTable::make(*type, chunk, std::move(sizes))
                      : Result<VolumeTable>(std::unexpected(type.error()));
    if (!table) {
      return fail(EIO, "pool.db: " + record.name() + ": " + table.error().message,
                  "restore it from a backup; the images are untouched");
    }
    record.table = *std::move(table);
    labels.volumes.push_back(std::move(label));
  }
}

void check_region(const RegionRecord& region, uint64_t previous_end,
                  std::vector<Finding>& findings) {
  const auto add = [&](std::string problem) {
    findings.push_back({region.name(), std::move(problem)});
  };
  if (region.size_bytes < kNamespaceSizeMin || !is_aligned(region.size_bytes, kSubsectionSize)) {
    add(fmt::format("its size {} is no multiple of 2 MiB, or too small", region.size_bytes));
  }
  if (!is_aligned(region.base_address, kSubsectionSize) || region.base_address < previous_end) {
    add(fmt::format("its base address {:#x} is no multiple of 2 MiB, or overlaps another region",
                    region.base_address));
  }
  if (region.base_address >= kPhysicalAddressEnd ||
      region.size_bytes > kPhysicalAddressEnd - region.base_address) {
    add("it reaches beyond the physical address space");
  }
}

void check_namespace(const NamespaceRecord& record, const RegionLabel* region,
                     std::vector<Finding>& findings) {
  const auto add = [&](std::string problem) {
    findings.push_back({record.name(), std::move(problem)});
  };
  const RegionRange range = record.range;
  if (region == nullptr) return add(fmt::format("there is no region{}", record.region));
  if (record.serial == 0 || record.serial >= kSerialEnd) {
    add(fmt::format("its serial {} is out of range", record.serial));
  }
  if (!is_uuid(record.uuid)) add("its uuid is none: '" + record.uuid + "'");
  if (range.end < range.begin || range.end > region->record.size_bytes) {
    return add(fmt::format("its range [{:#x}, {:#x}) is not within region{}", range.begin,
                           range.end, record.region));
  }
  if (range.length() < kNamespaceSizeMin) add("it is too small");
  if (!is_aligned(range.begin, kSubsectionSize) || !is_aligned(range.end, kSubsectionSize)) {
    add(fmt::format("its range [{:#x}, {:#x}) is not aligned to 2 MiB", range.begin, range.end));
  }
}

void check_volume(const Labels& labels, const VolumeRecord& record,
                  std::vector<Finding>& findings) {
  const auto add = [&](std::string problem) {
    findings.push_back({record.name(), std::move(problem)});
  };
  if (record.serial == 0 || record.serial >= kSerialEnd) {
    add(fmt::format("its serial {} is out of range", record.serial));
  }
  if (!is_uuid(record.uuid)) add("its uuid is none: '" + record.uuid + "'");
  for (const uint64_t leg : record.legs) {
    const NamespaceLabel* const label = labels.find_namespace(leg);
    if (label != nullptr && label->record.mode != NamespaceMode::kFsDax) {
      add("its leg " + label->record.name() + " is no fsdax");
    }
  }
}

}  // namespace

const NamespaceLabel* Labels::find_namespace(uint64_t serial) const {
  const auto found =
      std::ranges::find(namespaces, serial, [](const auto& label) { return label.record.serial; });
  return found == namespaces.end() ? nullptr : &*found;
}

const VolumeLabel* Labels::find_volume(uint64_t serial) const {
  const auto found =
      std::ranges::find(volumes, serial, [](const auto& label) { return label.record.serial; });
  return found == volumes.end() ? nullptr : &*found;
}

const VolumeLabel* Labels::volume_of(uint64_t leg) const {
  const auto found = std::ranges::find_if(volumes, [&](const VolumeLabel& label) {
    return std::ranges::find(label.record.legs, leg) != label.record.legs.end();
  });
  return found == volumes.end() ? nullptr : &*found;
}

uint64_t Labels::data_bytes(uint64_t serial) const {
  if (const auto* const label = find_namespace(serial)) return label->record.data_bytes();
  const auto* const label = find_volume(serial);
  return label == nullptr ? 0 : label->record.data_bytes();
}

const RegionLabel* Labels::find_region(uint32_t id) const {
  const auto found =
      std::ranges::find(regions, id, [](const auto& label) { return label.record.id; });
  return found == regions.end() ? nullptr : &*found;
}

std::vector<RegionRange> Labels::free_extents(const RegionRecord& region) const {
  std::vector<RegionRange> used;
  for (const auto& [record, live] : namespaces) {
    if (record.region == region.id) used.push_back(record.range);
  }
  std::ranges::sort(used);
  std::vector<RegionRange> free;
  uint64_t begin = 0;
  for (const RegionRange range : used) {
    if (begin < range.begin) free.push_back({begin, range.begin});
    begin = range.end;
  }
  if (begin < region.size_bytes) free.push_back({begin, region.size_bytes});
  return free;
}

Result<Labels> load_labels(Database& database) {
  MutexLock lock(database.mutex());
  Labels labels;
  PMEMD_ASSIGN(Statement meta, database.prepare("SELECT uuid FROM meta"));
  PMEMD_ASSIGN(const bool row, meta.step());
  if (row) labels.pool_uuid = meta.column_text(0);
  meta.reset();
  if (!is_uuid(labels.pool_uuid)) {
    return fail(EIO, "pool.db: the pool's uuid is missing",
                "restore it from a backup; the images are untouched");
  }
  PMEMD_TRY(load_regions(database, labels));
  PMEMD_TRY(load_namespaces(database, labels));
  PMEMD_TRY(load_volumes(database, labels));
  return labels;
}

Result<uint64_t> take_serial(Database& database) {
  PMEMD_ASSIGN(Statement take, database.prepare("UPDATE meta SET next_serial = next_serial + 1"
                                                " RETURNING next_serial - 1"));
  PMEMD_ASSIGN(const bool row, take.step());
  const auto serial = row ? static_cast<uint64_t>(take.column_int(0)) : 0;
  if (serial == 0) return fail(EIO, "pool.db: meta: next_serial is missing");
  if (serial >= kSerialEnd) {
    return fail(ENOSPC, fmt::format("the pool has had {} namespaces, and can have no more", serial),
                "make another pool");
  }
  return serial;
}

Result<void> insert_region(Database& database, const RegionLabel& label) {
  const RegionRecord& region = label.record;
  PMEMD_ASSIGN(Statement insert,
               database.prepare("INSERT INTO regions (id, size, base, sparse, live)"
                                " VALUES (?, ?, ?, ?, ?)"));
  insert.bind(0, region.id)
      .bind(1, static_cast<int64_t>(region.size_bytes))
      .bind(2, static_cast<int64_t>(region.base_address))
      .bind(3, region.reservation == Reservation::kSparse ? 1 : 0)
      .bind(4, label.live ? 1 : 0);
  return insert.run();
}

Result<void> insert_namespace(Database& database, const NamespaceLabel& label) {
  const NamespaceRecord& record = label.record;
  PMEMD_ASSIGN(Statement insert,
               database.prepare("INSERT INTO namespaces (serial, region, id, uuid, mode, start,"
                                " size, align, live, clean, next_index)"
                                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?)"));
  insert.bind(0, static_cast<int64_t>(record.serial))
      .bind(1, record.region)
      .bind(2, record.id)
      .bind_text(3, record.uuid)
      .bind_text(4, to_string(record.mode))
      .bind(5, static_cast<int64_t>(record.range.begin))
      .bind(6, static_cast<int64_t>(record.range.length()))
      .bind(7, static_cast<int64_t>(record.align))
      .bind(8, label.live ? 1 : 0)
      .bind(9, kRootIndex + 1);
  return insert.run();
}

Result<void> insert_volume(Database& database, const VolumeLabel& label) {
  const VolumeRecord& record = label.record;
  PMEMD_ASSIGN(Statement insert,
               database.prepare("INSERT INTO volumes (serial, id, uuid, type, chunk, live, clean,"
                                " next_index) VALUES (?, ?, ?, ?, ?, ?, 1, ?)"));
  insert.bind(0, static_cast<int64_t>(record.serial))
      .bind(1, record.id)
      .bind_text(2, record.uuid)
      .bind_text(3, to_string(record.table.type()))
      .bind(4, static_cast<int64_t>(record.table.chunk_bytes()))
      .bind(5, label.live ? 1 : 0)
      .bind(6, kRootIndex + 1);
  PMEMD_TRY(insert.run());
  PMEMD_ASSIGN(Statement leg, database.prepare("INSERT INTO volume_legs (volume, position, leg)"
                                               " VALUES (?, ?, ?)"));
  int64_t position = 0;
  for (const uint64_t serial : record.legs) {
    leg.bind(0, static_cast<int64_t>(record.serial))
        .bind(1, position++)
        .bind(2, static_cast<int64_t>(serial));
    PMEMD_TRY(leg.run());
    leg.reset();
  }
  return {};
}

std::vector<Finding> check_labels(const Labels& labels) {
  std::vector<Finding> findings;
  uint64_t previous_end = 0;
  auto by_base = labels.regions;
  std::ranges::sort(by_base, {}, [](const auto& label) { return label.record.base_address; });
  for (const auto& [region, live] : by_base) {
    check_region(region, previous_end, findings);
    previous_end = region.base_address + region.size_bytes;
  }
  std::set<std::string> uuids;
  for (const auto& [record, live] : labels.namespaces) {
    check_namespace(record, labels.find_region(record.region), findings);
    if (!uuids.insert(record.uuid).second) {
      findings.push_back({record.name(), "another namespace has its uuid " + record.uuid});
    }
    for (const auto& [other, other_live] : labels.namespaces) {
      if (other.serial < record.serial && other.region == record.region &&
          other.range.overlaps(record.range)) {
        findings.push_back({record.name(), "it overlaps " + other.name()});
      }
    }
  }
  for (const auto& [record, live] : labels.volumes) {
    check_volume(labels, record, findings);
    if (!uuids.insert(record.uuid).second) {
      findings.push_back({record.name(), "another device has its uuid " + record.uuid});
    }
  }
  return findings;
}

}  // namespace pmemd

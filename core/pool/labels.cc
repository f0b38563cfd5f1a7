#include "core/pool/labels.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "core/base/units.h"
#include "core/pool/columns.h"
#include "core/pool/schema.h"

namespace pmemd {
namespace {

Result<void> load_meta(Database& database, Labels& labels) {
  PMEMD_ASSIGN(Statement rows, database.prepare("SELECT uuid, next_serial, next_event FROM meta"));
  PMEMD_ASSIGN(const bool row, rows.step());
  if (!row) return fail(EIO, "pool.db: meta has no row", kDamagedHint);
  RowReader reader(rows);
  labels.pool_uuid = reader.bytes(0, columns::kMetaUuid);
  labels.next_serial = reader.number(1, columns::kMetaNextSerial);
  (void)reader.integer(2, columns::kMetaNextEvent);  // the event log reads it
  PMEMD_TRY(reader.done());
  PMEMD_ASSIGN(const bool another, rows.step());
  if (another) return fail(EIO, "pool.db: meta has more than one row", kDamagedHint);
  return {};
}

Result<void> load_regions(Database& database, Labels& labels) {
  PMEMD_ASSIGN(Statement rows,
               database.prepare("SELECT id, size, base, sparse, live FROM regions ORDER BY id"));
  for (;;) {
    PMEMD_ASSIGN(const bool row, rows.step());
    if (!row) return {};
    RowReader reader(rows);
    RegionLabel label;
    label.record.id = reader.number<uint32_t>(0, columns::kRegionId);
    label.record.size_bytes = reader.number(1, columns::kRegionSize);
    label.record.base_address = reader.number(2, columns::kRegionBase);
    label.record.reservation = reader.integer(3, columns::kRegionSparse) != 0
                                   ? Reservation::kSparse
                                   : Reservation::kReserved;
    label.live = reader.integer(4, columns::kRegionLive) != 0;
    PMEMD_TRY(reader.done());
    labels.regions.push_back(label);
  }
}

Result<void> load_namespaces(Database& database, Labels& labels) {
  PMEMD_ASSIGN(Statement rows,
               database.prepare("SELECT serial, region, id, uuid, mode, start, size, align, live,"
                                " clean, next_index FROM namespaces ORDER BY region, id"));
  for (;;) {
    PMEMD_ASSIGN(const bool row, rows.step());
    if (!row) return {};
    RowReader reader(rows);
    NamespaceLabel label;
    NamespaceRecord& record = label.record;
    record.serial = reader.number(0, columns::kNamespaceSerial);
    record.region = reader.number<uint32_t>(1, columns::kNamespaceRegion);
    record.id = reader.number<uint32_t>(2, columns::kNamespaceId);
    record.uuid = reader.bytes(3, columns::kNamespaceUuid);
    const auto mode = parse_namespace_mode(reader.bytes(4, columns::kNamespaceMode));
    record.range = RegionRange::sized(reader.number(5, columns::kNamespaceStart),
                                      reader.number(6, columns::kNamespaceSize));
    record.align = reader.number(7, columns::kNamespaceAlign);
    label.live = reader.integer(8, columns::kNamespaceLive) != 0;
    (void)reader.integer(9, columns::kNamespaceClean);  // read when needed
    (void)reader.integer(10, columns::kNamespaceNextIndex);
    PMEMD_TRY(reader.done());
    record.mode = *mode;
    labels.namespaces.push_back(std::move(label));
  }
}

Result<std::vector<uint64_t>> load_legs(Database& database, uint64_t volume) {
  PMEMD_ASSIGN(Statement rows, database.prepare("SELECT position, leg FROM volume_legs"
                                                " WHERE volume = ? ORDER BY position"));
  rows.bind(0, static_cast<int64_t>(volume));
  std::vector<uint64_t> legs;
  for (;;) {
    PMEMD_ASSIGN(const bool row, rows.step());
    if (!row) return legs;
    RowReader reader(rows);
    const auto position = reader.number(0, columns::kLegPosition);
    const auto leg = reader.number(1, columns::kLegSerial);
    PMEMD_TRY(reader.done());
    if (position != legs.size()) {
      return fail(
          EIO,
          fmt::format("pool.db: volume of serial {}: no leg at position {}", volume, legs.size()),
          kDamagedHint);
    }
    legs.push_back(leg);
  }
}

// After the namespaces, because a volume's size comes from its legs.
Result<void> load_volumes(Database& database, Labels& labels) {
  PMEMD_ASSIGN(const bool has_volumes, database.has_table("volumes"));
  if (!has_volumes) return {};
  PMEMD_ASSIGN(Statement rows,
               database.prepare("SELECT serial, id, uuid, type, chunk, live, clean, next_index"
                                " FROM volumes ORDER BY serial"));
  for (;;) {
    PMEMD_ASSIGN(const bool row, rows.step());
    if (!row) return {};
    RowReader reader(rows);
    VolumeLabel label;
    VolumeRecord& record = label.record;
    record.serial = reader.number(0, columns::kVolumeSerial);
    record.id = reader.number<uint32_t>(1, columns::kVolumeId);
    record.uuid = reader.bytes(2, columns::kVolumeUuid);
    const auto type = parse_volume_type(reader.bytes(3, columns::kVolumeType));
    const auto chunk = reader.number(4, columns::kVolumeChunk);
    label.live = reader.integer(5, columns::kVolumeLive) != 0;
    (void)reader.integer(6, columns::kVolumeClean);  // read when needed
    (void)reader.integer(7, columns::kVolumeNextIndex);
    PMEMD_TRY(reader.done());
    PMEMD_ASSIGN(record.legs, load_legs(database, record.serial));
    std::vector<uint64_t> sizes;
    sizes.reserve(record.legs.size());
    for (const uint64_t leg : record.legs) sizes.push_back(labels.data_bytes(leg));
    auto table = VolumeTable::make(*type, chunk, std::move(sizes));
    if (!table) {
      return fail(EIO, "pool.db: " + record.name() + ": " + table.error().message, kDamagedHint);
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
  // It would be destroyed with the region and its image.
  if (!region->live) add(fmt::format("region{} is still being made", record.region));
  if (record.serial == 0 || record.serial >= kSerialEnd) {
    add(fmt::format("its serial {} is out of range", record.serial));
  }
  if (!columns::is_uuid(record.uuid)) add("its uuid is none: '" + record.uuid + "'");
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
  if (!columns::is_uuid(record.uuid)) add("its uuid is none: '" + record.uuid + "'");
  for (const uint64_t leg : record.legs) {
    const NamespaceLabel* const label = labels.find_namespace(leg);
    if (label != nullptr && label->record.mode != NamespaceMode::kFsDax) {
      add("its leg " + label->record.name() + " is no fsdax");
    }
    const VolumeLabel* const volume = labels.find_volume(leg);
    const bool is_live = label != nullptr ? label->live : volume != nullptr && volume->live;
    if (!is_live) add(fmt::format("its leg of serial {} isn't there, or is being destroyed", leg));
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
  PMEMD_TRY(load_meta(database, labels));
  PMEMD_TRY(load_regions(database, labels));
  PMEMD_TRY(load_namespaces(database, labels));
  PMEMD_TRY(load_volumes(database, labels));
  return labels;
}

Result<bool> read_clean(Database& database, uint64_t serial) {
  MutexLock lock(database.mutex());
  for (const auto& [sql, column] :
       {std::pair("SELECT clean FROM namespaces WHERE serial = ?", columns::kNamespaceClean),
        std::pair("SELECT clean FROM volumes WHERE serial = ?", columns::kVolumeClean)}) {
    PMEMD_ASSIGN(Statement select, database.prepare(sql));
    PMEMD_ASSIGN(const bool row, select.bind(0, static_cast<int64_t>(serial)).step());
    if (!row) continue;
    RowReader reader(select);
    const bool is_clean = reader.integer(0, column) != 0;
    PMEMD_TRY(reader.done());
    return is_clean;
  }
  return fail(ENOENT, fmt::format("there is no namespace of serial {}", serial));
}

Result<std::optional<uint64_t>> read_extents_checksum(Database& database, uint64_t serial) {
  MutexLock lock(database.mutex());
  PMEMD_ASSIGN(const bool has_checksums, database.has_table("extent_checksums"));
  if (!has_checksums) return std::nullopt;
  PMEMD_ASSIGN(Statement select,
               database.prepare("SELECT checksum FROM extent_checksums WHERE serial = ?"));
  PMEMD_ASSIGN(const bool row, select.bind(0, static_cast<int64_t>(serial)).step());
  if (!row) return std::nullopt;
  RowReader reader(select);
  const auto checksum = reader.number(0, columns::kChecksumValue);
  PMEMD_TRY(reader.done());
  return checksum;
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
  std::set<uint64_t> serials, legs;
  const auto check_serial = [&](const auto& record) {
    if (!serials.insert(record.serial).second) {
      findings.push_back({record.name(), "another has its serial"});
    }
  };
  for (const auto& [record, live] : labels.namespaces) {
    check_serial(record);
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
    check_serial(record);
    check_volume(labels, record, findings);
    for (const uint64_t leg : record.legs) {
      if (!legs.insert(leg).second) {
        findings.push_back({record.name(), fmt::format("its leg of serial {} is one twice", leg)});
      }
    }
    if (!uuids.insert(record.uuid).second) {
      findings.push_back({record.name(), "another device has its uuid " + record.uuid});
    }
  }
  return findings;
}

std::vector<Finding> check_next_serial(const Labels& labels) {
  std::vector<Finding> findings;
  const auto check = [&](const auto& devices) {
    for (const auto& [record, live] : devices) {
      if (record.serial < labels.next_serial) continue;
      findings.push_back({"pool.db", fmt::format("serial {} is in use, but next_serial is not "
                                                 "above it",
                                                 record.serial)});
    }
  };
  check(labels.namespaces);
  check(labels.volumes);
  return findings;
}

}  // namespace pmemd

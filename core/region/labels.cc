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

}  // namespace

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
  return labels;
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
  return findings;
}

}  // namespace pmemd

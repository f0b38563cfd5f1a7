#include "core/filesystem/check.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "core/base/units.h"
#include "core/filesystem/allocator.h"
#include "core/filesystem/extent_scan.h"
#include "core/filesystem/rows.h"
#include "core/pool/check.h"
#include "core/pool/schema.h"
#include "core/range/range_set.h"

namespace pmemd {
namespace {

constexpr int kFindingsPerRule = 100;

// A query whose rows are what is wrong: an inode number, and in words why. ?1 and ?2 are the first
// inode number of the device and the one behind the last, ?3 its next_index, ?4 the data area's
// size. (kParameters makes all four known to each.) In dirents, a type is the mode's S_IFMT bits >>
// 12: 4 is a directory, 8 a regular file.
constexpr std::string_view kParameters = "WITH parameters AS (VALUES (?1, ?2, ?3, ?4)) ";
constexpr std::array kRules = {
    "SELECT ?1 + 1, 'there is no root directory' WHERE NOT EXISTS"
    " (SELECT * FROM inodes WHERE ino = ?1 + 1 AND mode >> 12 = 4 AND nlink > 0"
    "  AND parent = ?1 + 1)"
    // No inode at all: it was never enabled; the first enable makes the root.
    " AND EXISTS (SELECT * FROM inodes WHERE ino >= ?1 AND ino < ?2)",

    "SELECT ino, 'unknown type, mode ' || mode FROM inodes WHERE ino >= ?1 AND ino < ?2"
    " AND mode >> 12 NOT IN (1, 2, 4, 6, 8, 10, 12)",

    "SELECT ino, 'its number may be given again' FROM inodes"
    " WHERE ino >= ?1 AND ino < ?2 AND ino != ?1 + 1 AND ino - ?1 >= ?3",

    "SELECT ino, 'a symbolic link to ' || ifnull(length(target), 0) || ' bytes, with size ' || size"
    " FROM inodes WHERE ino >= ?1 AND ino < ?2 AND mode >> 12 = 10"
    " AND (target IS NULL OR length(target) = 0 OR length(target) != size)",

    "SELECT ino, 'extents of a number that may be given again' FROM extents"
    " WHERE ino >= ?1 + max(?3, 2) AND ino < ?2 UNION ALL"
    " SELECT ino, 'attributes of a number that may be given again' FROM xattrs"
    " WHERE ino >= ?1 + max(?3, 2) AND ino < ?2 UNION ALL"
    " SELECT parent, 'entries of a number that may be given again' FROM dirents"
    " WHERE parent >= ?1 + max(?3, 2) AND parent < ?2",

    "SELECT d.parent, 'entry \"' || d.name || '\" in what is no directory'"
    " FROM dirents d LEFT JOIN inodes i ON i.ino = d.parent"
    " WHERE d.parent >= ?1 AND d.parent < ?2 AND (i.ino IS NULL OR i.mode >> 12 != 4)",

    "SELECT d.parent, 'entry \"' || d.name || '\" leads to inode ' || d.ino ||"
    " iif(i.ino IS NULL, ', which doesn''t exist', ', which is of another type')"
    " FROM dirents d LEFT JOIN inodes i ON i.ino = d.ino AND i.ino >= ?1 AND i.ino < ?2"
    " WHERE d.parent >= ?1 AND d.parent < ?2 AND (i.ino IS NULL OR i.mode >> 12 != d.type)",

    "SELECT parent, 'entry \"' || name || '\" has an impossible name'"
    " FROM dirents WHERE parent >= ?1 AND parent < ?2 AND (length(name) NOT BETWEEN 1 AND 255"
    " OR name IN (x'2e', x'2e2e') OR instr(name, x'2f') OR instr(name, x'00'))",

    "SELECT i.ino, 'has ' || i.nlink || ' links, but ' || coalesce(d.n, 0) || ' entries'"
    " FROM inodes i LEFT JOIN (SELECT ino, count(*) AS n FROM dirents"
    "  WHERE parent >= ?1 AND parent < ?2 GROUP BY ino) d ON d.ino = i.ino"
    " WHERE i.ino >= ?1 AND i.ino < ?2 AND i.ino != ?1 + 1"
    " AND coalesce(d.n, 0) != iif(i.mode >> 12 = 4, i.nlink > 0, i.nlink)",

    "SELECT i.ino, 'directory of ' || i.size || ' entries and ' || i.nlink || ' links, but has ' ||"
    " coalesce(d.n, 0) || ' entries, ' || coalesce(d.dirs, 0) || ' of them directories'"
    " FROM inodes i LEFT JOIN (SELECT parent, count(*) AS n, sum(type = 4) AS dirs FROM dirents"
    "  WHERE parent >= ?1 AND parent < ?2 GROUP BY parent) d ON d.parent = i.ino"
    " WHERE i.ino >= ?1 AND i.ino < ?2 AND i.mode >> 12 = 4 AND (i.size != coalesce(d.n, 0)"
    " OR i.nlink != iif(i.nlink = 0, 0, 2) + coalesce(d.dirs, 0))",

    "SELECT i.ino, 'lies in ' || d.parent || ', but its \"..\" is ' || i.parent"
    " FROM dirents d JOIN inodes i ON i.ino = d.ino"
    " WHERE d.parent >= ?1 AND d.parent < ?2 AND i.mode >> 12 = 4 AND i.parent != d.parent",

    "SELECT e.ino, 'extents of what is no regular file'"
    " FROM (SELECT DISTINCT ino FROM extents WHERE ino >= ?1 AND ino < ?2) e"
    " LEFT JOIN inodes i ON i.ino = e.ino WHERE e.ino != ?1 + 1"
    " AND (i.ino IS NULL OR i.mode >> 12 != 8)",

    "SELECT ino, 'an extent of the root directory that is no superblock' FROM extents"
    " WHERE ino = ?1 + 1 AND (file_offset != 0 OR data_offset != ?4 - 4096 OR length != 4096)",

    "SELECT ino, printf('extent at %#llx, data at %#llx, %#llx bytes: not whole blocks of the data"
    " area', file_offset, data_offset, length) FROM extents WHERE ino >= ?1 AND ino < ?2"
    " AND ((file_offset | data_offset | length) & 4095 OR length <= 0 OR file_offset < 0"
    "  OR data_offset < 0 OR data_offset > ?4 - length)",

    "SELECT ino, printf('extent at %#llx overlaps the one before it', file_offset) FROM"
    " (SELECT ino, file_offset, lag(file_offset + length) OVER"
    "   (PARTITION BY ino ORDER BY file_offset) AS before_end"
    "  FROM extents WHERE ino >= ?1 AND ino < ?2) WHERE file_offset < before_end",

    "SELECT ino, printf('its data at %#llx is also another extent''s', data_offset) FROM"
    " (SELECT ino, data_offset, max(data_offset + length) OVER"
    "   (ORDER BY data_offset ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before_end"
    "  FROM extents WHERE ino >= ?1 AND ino < ?2) WHERE data_offset < before_end",

    "SELECT x.ino, 'extended attributes of what is no inode'"
    " FROM (SELECT DISTINCT ino FROM xattrs WHERE ino >= ?1 AND ino < ?2) x"
    " LEFT JOIN inodes i ON i.ino = x.ino WHERE i.ino IS NULL",
};

// Names are bytes; makes text of one, to show it.
std::string printable(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f) {
      text += fmt::format("\\x{:02x}", byte);
    } else {
      text += c;
    }
  }
  return text;
}

// One check in progress.
class Check {
 public:
  // `table`: the one that has the device's label.
  Check(PoolView& view, const char* table, std::string name, uint64_t serial, uint64_t data_bytes)
      : view_(view),
        pool_(view.pool()),
        table_(table),
        name_(std::move(name)),
        serial_(serial),
        data_bytes_(data_bytes),
        first_(make_inode_number(serial, 0)),
        end_(make_inode_number(serial + 1, 0)) {}

  Result<void> tables();
  Result<void> checksum();
  Result<void> free_space();
  std::vector<Finding> take_findings() { return std::move(findings_); }

 private:
  Result<void> rule(const char* sql, uint64_t next_index);
  Result<uint64_t> next_index();
  // Whether all of it that can be read reads as zeros.
  Result<bool> is_zero(DataRange range);
  Result<void> cycles();
  Result<std::vector<DataRange>> used();
  void add(uint64_t ino, std::string_view problem) {
    findings_.push_back({fmt::format("{} inode {}", name_, ino), printable(problem)});
  }

  PoolView& view_;
  Pool& pool_;
  const char* const table_;
  const std::string name_;
  const uint64_t serial_;
  const uint64_t data_bytes_;
  const uint64_t first_;
  const uint64_t end_;
  std::map<uint64_t, std::unique_ptr<MappedImage>> images_;  // by serial; mapped when first needed
  std::vector<Finding> findings_;
};

Result<uint64_t> Check::next_index() {
  PMEMD_ASSIGN(Statement query, view_.database().prepare(fmt::format(
                                    "SELECT next_index FROM {} WHERE serial = ?", table_)));
  PMEMD_ASSIGN(const bool row, query.bind(0, static_cast<int64_t>(serial_)).step());
  return row ? static_cast<uint64_t>(query.column_int(0)) : 0;
}

Result<void> Check::rule(const char* sql, uint64_t next_index) {
  PMEMD_ASSIGN(Statement query, view_.database().prepare(std::string(kParameters) + sql));
  int index = 0;
  for (const uint64_t parameter : {first_, end_, next_index, data_bytes_}) {
    query.bind(index++, static_cast<int64_t>(parameter));
  }
  for (int count = 0; count < kFindingsPerRule; ++count) {
    PMEMD_ASSIGN(const bool row, query.step());
    if (!row) break;
    add(static_cast<uint64_t>(query.column_int(0)), query.column_text(1));
  }
  return {};
}

// Every directory that has a link leads to the root through its parents.
Result<void> Check::cycles() {
  std::unordered_map<uint64_t, uint64_t> parents;
  PMEMD_ASSIGN(Statement query,
               view_.database().prepare("SELECT ino, parent FROM inodes WHERE ino >= ? AND ino < ?"
                                        " AND mode >> 12 = 4 AND nlink > 0"));
  query.bind(0, static_cast<int64_t>(first_)).bind(1, static_cast<int64_t>(end_));
  for (;;) {
    PMEMD_ASSIGN(const bool row, query.step());
    if (!row) break;
    parents.emplace(query.column_int(0), query.column_int(1));
  }
  // A directory that was found to lead to the root gets it as parent, so that each path is walked
  // once.
  const uint64_t root = first_ + kRootIndex;
  int found = 0;
  for (const auto& [ino, unused] : parents) {
    std::vector<uint64_t> path;
    uint64_t at = ino;
    while (at != root && path.size() <= parents.size()) {
      path.push_back(at);
      const auto up = parents.find(at);
      if (up == parents.end()) break;
      at = up->second;
    }
    if (at == root) {
      for (const uint64_t step : path) parents[step] = root;
    } else {
      add(ino, "no way leads from this directory to the root");
      if (++found == kFindingsPerRule) break;
    }
  }
  return {};
}

Result<void> Check::tables() {
  MutexLock lock(view_.database().mutex());
  PMEMD_ASSIGN(const uint64_t next, next_index());
  for (const char* sql : kRules) PMEMD_TRY(rule(sql, next));
  return cycles();
}

Result<void> Check::checksum() {
  PMEMD_ASSIGN(const bool clean, view_.is_clean(serial_));
  PMEMD_ASSIGN(const auto wanted, view_.extents_checksum(serial_));
  if (!clean || !wanted || !findings_.empty()) return {};
  std::optional<Rows> rows;
  {
    MutexLock lock(view_.database().mutex());
    PMEMD_ASSIGN(rows, Rows::prepare(view_.database(), serial_, data_bytes_));
  }
  const auto found = scan_extents(view_.database(), *rows);
  if (!found) {
    findings_.push_back({name_, found.error().message});
  } else if (*found != *wanted) {
    findings_.push_back(
        {name_, "its extents are not those of its last disable: some were lost or changed"});
  }
  return {};
}

Result<std::vector<DataRange>> Check::used() {
  MutexLock lock(view_.database().mutex());
  PMEMD_ASSIGN(Statement query, view_.database().prepare("SELECT data_offset, length FROM extents"
                                                         " WHERE ino >= ? AND ino < ?"));
  query.bind(0, static_cast<int64_t>(first_)).bind(1, static_cast<int64_t>(end_));
  std::vector<DataRange> ranges;
  for (;;) {
    PMEMD_ASSIGN(const bool row, query.step());
    if (!row) return ranges;
    ranges.push_back(DataRange::sized(static_cast<uint64_t>(query.column_int(0)),
                                      static_cast<uint64_t>(query.column_int(1))));
  }
}

Result<bool> Check::is_zero(DataRange range) {
  for (const auto& [space, part] : pool_.namespaces_under(serial_, range)) {
    const auto [mapped, is_first] = images_.try_emplace(space.serial);
    if (is_first) {
      if (auto image = pool_.map_namespace(space)) mapped->second = *std::move(image);
    }
    MappedImage* const image = mapped->second.get();
    if (image == nullptr) continue;  // check_regions() has reported it
    // Bad bytes can't be read, and are zeroed before anybody gets them.
    RangeSet<RegionSpace> good;
    good.insert(space.in_region(part));
    for (const RegionRange& all : good.ranges()) {
      const auto errors = pool_.media_errors(space.region);
      if (!errors) continue;
      for (const RegionRange& bad : errors->bad(all)) good.erase(bad);
    }
    for (const RegionRange& look_at : good.ranges()) {
      PMEMD_ASSIGN(const bool zero,
                   image->is_zero(look_at.begin - space.range.begin, look_at.length()));
      if (!zero) return false;
    }
  }
  return true;
}

Result<void> Check::free_space() {
  PMEMD_ASSIGN(const bool clean, view_.is_clean(serial_));
  if (!clean) return {};
  PMEMD_ASSIGN(auto ranges, used());
  const auto allocator = Allocator::with_used(data_bytes_, std::move(ranges));
  if (!allocator) return {};  // the tables' rules have reported it
  Result<void> read;
  allocator->for_each_free([&](DataRange range) {
    if (!read) return;
    auto zero = is_zero(range);
    // Only between two moments at which it was disabled: otherwise its user may have changed the
    // bytes.
    if (zero && !*zero && view_.is_as_clean(serial_, true)) zero = is_zero(range);
    if (!view_.is_as_clean(serial_, true)) return;
    if (!zero) {
      read = std::unexpected(zero.error());
    } else if (!*zero) {
      findings_.push_back(
          {name_, fmt::format("free space at {:#x}, {:#x} bytes, doesn't read as zeros",
                              range.begin, range.length())});
    }
  });
  return read;
}

}  // namespace

Result<std::vector<Finding>> check_filesystem(PoolView& view, const NamespaceRecord& record) {
  if (record.mode != NamespaceMode::kFsDax) return std::vector<Finding>();
  Check check(view, "namespaces", record.name(), record.serial, record.data_bytes());
  PMEMD_TRY(check.tables());
  PMEMD_TRY(check.checksum());
  // A leg's bytes belong to its volume.
  if (view.labels().volume_of(record.serial) == nullptr) PMEMD_TRY(check.free_space());
  return check.take_findings();
}

Result<std::vector<Finding>> check_filesystem(PoolView& view, const VolumeRecord& record) {
  Check check(view, "volumes", record.name(), record.serial, record.data_bytes());
  PMEMD_TRY(check.tables());
  PMEMD_TRY(check.checksum());
  if (view.labels().volume_of(record.serial) == nullptr) PMEMD_TRY(check.free_space());
  return check.take_findings();
}

Result<std::vector<Finding>> check_pool(Pool& pool) {
  PMEMD_ASSIGN(const auto view, PoolView::open(pool));
  PMEMD_ASSIGN(auto findings, check_regions(*view));
  const auto check_all = [&](const auto& labels) -> Result<void> {
    for (const auto& [record, live] : labels) {
      if (!live) continue;
      PMEMD_ASSIGN(auto more, check_filesystem(*view, record));
      std::ranges::move(more, std::back_inserter(findings));
    }
    return {};
  };
  PMEMD_TRY(check_all(view->labels().namespaces));
  PMEMD_TRY(check_all(view->labels().volumes));
  return findings;
}

}  // namespace pmemd

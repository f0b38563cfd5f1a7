#include "core/filesystem/rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/pool/columns.h"
#include "core/pool/schema.h"

namespace pmemd {
namespace {

// S_IFMT's bits, as the dirents table keeps them.
constexpr unsigned kTypeShift = 12;

// Binds as text: the name of an extended attribute; other strings are blobs.
struct Text {
  std::string_view text;
};

void bind_value(Statement& statement, int index, uint64_t value) {
  statement.bind(index, static_cast<int64_t>(value));
}
void bind_value(Statement& statement, int index, int64_t value) { statement.bind(index, value); }
void bind_value(Statement& statement, int index, std::string_view value) {
  statement.bind_blob(index, value);
}
void bind_value(Statement& statement, int index, Text value) {
  statement.bind_text(index, value.text);
}

// A query left half read would hold its snapshot; this also resets it when memory runs out.
struct ResetAtEnd {
  Statement& query;
  ~ResetAtEnd() { query.reset(); }
};

// The rows of a query, each through `read`, which returns a Result.
template <class T, class Read>
Result<std::vector<T>> collect(Statement& query, Read read) {
  const ResetAtEnd reset{query};
  std::vector<T> rows;
  for (;;) {
    PMEMD_ASSIGN(const bool row, query.step());
    if (!row) return rows;
    auto value = read(query);
    if (!value) return std::unexpected(std::move(value).error());
    rows.push_back(*std::move(value));
  }
}

// The one row of a query, through `read`, if there is one.
template <class T, class Read>
Result<std::optional<T>> first(Statement& query, Read read) {
  const ResetAtEnd reset{query};
  PMEMD_ASSIGN(const bool row, query.step());
  if (!row) return std::optional<T>();
  auto value = read(query);
  if (!value) return std::unexpected(std::move(value).error());
  return std::optional<T>(*std::move(value));
}

// A number that is computed, or that the query selected by.
Result<uint64_t> count_of(const Statement& row) { return static_cast<uint64_t>(row.column_int(0)); }

// Where the ranges stop ascending.
DataRanges::const_iterator end_of_run(DataRanges::const_iterator begin,
                                      DataRanges::const_iterator end) {
  const auto last = std::adjacent_find(
      begin, end, [](const DataRange& one, const DataRange& two) { return two.begin < one.end; });
  return last == end ? end : std::next(last);
}

// An inode number, of column 0.
auto read_number(const Column& column) {
  return [&column](const Statement& row) -> Result<uint64_t> {
    RowReader reader(row);
    const auto number = reader.number(0, column);
    PMEMD_TRY(reader.done());
    return number;
  };
}

auto read_bytes(const Column& column) {
  return [&column](const Statement& row) -> Result<std::string> {
    RowReader reader(row);
    std::string bytes(reader.bytes(0, column));
    PMEMD_TRY(reader.done());
    return bytes;
  };
}

std::unexpected<Error> damaged(std::string problem) {
  return fail(EIO, "pool.db: " + std::move(problem), kDamagedHint);
}

// The index gives a row's number, and the row is looked up by that: a join with itself, because
// SQLite takes the columns that the index has from the index, and these may differ from the row's.
#define PMEMD_FROM_ENTRIES " FROM dirents i CROSS JOIN dirents d ON d.cookie = i.cookie"

// CROSS JOIN: the entries come first, in their order.
#define PMEMD_SELECT_ENTRIES                                                                    \
  "SELECT d.cookie, d.ino, d.type, d.name, d.parent,"                                           \
  " (SELECT coalesce(sum(length), 0) FROM extents WHERE extents.ino = d.ino),"                  \
  " mode, uid, gid, nlink, rdev, n.parent, size, atime, mtime, ctime, btime" PMEMD_FROM_ENTRIES \
  " CROSS JOIN inodes n ON n.ino = d.ino"

}  // namespace

// In the order of Sql.
const std::array<const char*, Rows::kSqlCount> Rows::kSqlText = {
    "SELECT mode, uid, gid, nlink, rdev, parent, size, atime, mtime, ctime, btime"
    " FROM inodes WHERE ino = ?",
    "SELECT target FROM inodes WHERE ino = ?",
    "INSERT INTO inodes (ino, mode, uid, gid, nlink, rdev, parent, size, atime, mtime, ctime,"
    " btime, target) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "UPDATE inodes SET mode = ?, uid = ?, gid = ?, nlink = ?, parent = ?, size = ?, atime = ?,"
    " mtime = ?, ctime = ? WHERE ino = ?",
    "DELETE FROM inodes WHERE ino = ?",
    "DELETE FROM extents WHERE ino = ?",
    "DELETE FROM xattrs WHERE ino = ?",
    "SELECT ino FROM inodes WHERE nlink = 0 AND ino >= ? AND ino < ?",
    "SELECT count(*) FROM inodes WHERE ino >= ? AND ino < ?",
    "UPDATE namespaces SET next_index = max(next_index, ?) + ? WHERE serial = ?"
    " RETURNING next_index",
    "UPDATE volumes SET next_index = max(next_index, ?) + ? WHERE serial = ?"
    " RETURNING next_index",
    "SELECT d.cookie, d.ino, d.type, d.name, d.parent" PMEMD_FROM_ENTRIES
    " WHERE i.parent = ? AND i.name = ?",
    "SELECT d.cookie, d.ino, d.type, d.name, d.parent" PMEMD_FROM_ENTRIES
    " WHERE i.parent = ? AND i.cookie > ? ORDER BY i.cookie LIMIT ?",
    PMEMD_SELECT_ENTRIES " WHERE i.parent = ? AND i.name = ?",
    PMEMD_SELECT_ENTRIES " WHERE i.parent = ? AND i.cookie > ? ORDER BY i.cookie LIMIT ?",
    "SELECT 1 FROM inodes WHERE ino >= ? AND ino < ? AND nlink > 0 LIMIT 1",
    "SELECT 1 FROM dirents WHERE parent >= ? AND parent < ? LIMIT 1",
    "SELECT next_index FROM namespaces WHERE serial = ?",
    "SELECT next_index FROM volumes WHERE serial = ?",
    "SELECT 'inodes', ino FROM inodes WHERE ino >= ?1 AND ino < ?2 UNION ALL"
    " SELECT 'dirents', parent FROM dirents WHERE parent >= ?1 AND parent < ?2 UNION ALL"
    " SELECT 'extents', ino FROM extents WHERE ino >= ?1 AND ino < ?2 UNION ALL"
    " SELECT 'xattrs', ino FROM xattrs WHERE ino >= ?1 AND ino < ?2 LIMIT 1",
    "SELECT ino FROM dirents WHERE parent >= ?1 AND parent < ?2 AND ino IN"
    " (SELECT ino FROM inodes WHERE nlink = 0 AND ino >= ?1 AND ino < ?2) LIMIT 1",
    "SELECT ino, type, parent, name FROM dirents WHERE parent >= ? AND parent < ?",
    "INSERT INTO dirents (parent, name, ino, type) VALUES (?, ?, ?, ?)",
    "UPDATE dirents SET parent = ?, name = ? WHERE cookie = ?",
    "UPDATE dirents SET ino = ?, type = ? WHERE cookie = ?",
    "DELETE FROM dirents WHERE cookie = ?",
    "SELECT file_offset, data_offset, length FROM extents WHERE ino = ? ORDER BY file_offset",
    "SELECT ino, file_offset, data_offset, length FROM extents WHERE (ino, file_offset) > (?, ?)"
    " AND ino < ? ORDER BY ino, file_offset LIMIT ?",
    // Extents of a namespace don't overlap: the last one that begins at or before the range's start
    // is the first that can reach into it.
    "SELECT ino, file_offset, data_offset, length FROM extents WHERE ino >> 40 = ?1"
    " AND data_offset >= coalesce((SELECT max(data_offset) FROM extents"
    "  WHERE ino >> 40 = ?1 AND data_offset <= ?2), 0)"
    " AND data_offset < ?3 ORDER BY data_offset",
    "INSERT OR REPLACE INTO extents (ino, file_offset, data_offset, length) VALUES (?, ?, ?, ?)",
    "DELETE FROM extents WHERE ino = ? AND file_offset = ?",
    "SELECT value FROM xattrs WHERE ino = ? AND name = ?",
    "SELECT name FROM xattrs WHERE ino = ? ORDER BY name",
    "SELECT coalesce(sum(length(CAST(name AS BLOB)) + length(value)), 0) FROM xattrs WHERE ino = ?",
    "INSERT OR REPLACE INTO xattrs (ino, name, value) VALUES (?, ?, ?)",
    "DELETE FROM xattrs WHERE ino = ? AND name = ?",
};

Rows::Rows(Database& db, uint64_t serial, uint64_t data_bytes)
    : db_(&db),
      serial_(serial),
      data_bytes_(data_bytes),
      first_(make_inode_number(serial, 0)),
      end_(make_inode_number(serial + 1, 0)) {}

Result<Rows> Rows::prepare(Database& db, uint64_t serial, uint64_t data_bytes) {
  Rows rows(db, serial, data_bytes);
  for (size_t i = 0; i < kSqlCount; ++i) {
    PMEMD_ASSIGN(rows.statements_[i], db.prepare(kSqlText[i]));
  }
  return rows;
}

template <class... Values>
Statement& Rows::bound(Sql sql, const Values&... values) {
  Statement& statement = statements_[sql];
  int index = 0;
  (bind_value(statement, index++, values), ...);
  return statement;
}

// --- decoding

// From column `first` on, as kSqlText names them.
Result<InodeRow> Rows::decode_inode(const Statement& row, uint64_t ino, int first) const {
  RowReader reader(row);
  const InodeRow inode = {.ino = ino,
                          .mode = reader.number<mode_t>(first, columns::kInodeMode),
                          .uid = reader.number<uid_t>(first + 1, columns::kInodeUid),
                          .gid = reader.number<gid_t>(first + 2, columns::kInodeGid),
                          .nlink = reader.number<uint32_t>(first + 3, columns::kInodeNlink),
                          .rdev = reader.number(first + 4, columns::kInodeRdev),
                          .parent = reader.number(first + 5, columns::kInodeParent),
                          .size = reader.number(first + 6, columns::kInodeSize),
                          .atime = reader.integer(first + 7, columns::kInodeAtime),
                          .mtime = reader.integer(first + 8, columns::kInodeMtime),
                          .ctime = reader.integer(first + 9, columns::kInodeCtime),
                          .btime = reader.integer(first + 10, columns::kInodeBtime)};
  PMEMD_TRY(reader.done());
  if (inode.is_directory() && !is_ours(inode.parent)) {
    return damaged(fmt::format("inode {}: its \"..\" is inode {}", ino, inode.parent));
  }
  return inode;
}

Result<DirentRow> Rows::decode_dirent(const Statement& row, uint64_t parent,
                                      std::optional<std::string_view> name) const {
  RowReader reader(row);
  DirentRow entry;
  entry.cookie = reader.number(0, columns::kDirentCookie);
  entry.ino = reader.number(1, columns::kDirentIno);
  entry.type = reader.number<mode_t>(2, columns::kDirentType) << kTypeShift;
  const std::string_view stored = reader.bytes(3, columns::kDirentName);
  const bool is_wanted =
      reader.number(4, columns::kDirentParent) == parent && (!name || *name == stored);
  PMEMD_TRY(reader.done());
  if (!is_wanted) return damaged("an index of dirents leads to another entry");
  if (!is_ours(entry.ino)) {
    return damaged(
        fmt::format("inode {}: an entry leads to inode {}, which isn't of its file"
                    " system",
                    parent, entry.ino));
  }
  if (!name) entry.name = stored;
  return entry;
}

// After the columns of decode_dirent().
Result<EntryRow> Rows::decode_entry(const Statement& row, uint64_t parent,
                                    std::optional<std::string_view> name) const {
  EntryRow found;
  PMEMD_ASSIGN(found.entry, decode_dirent(row, parent, name));
  PMEMD_ASSIGN(found.inode, decode_inode(row, found.entry.ino, 6));
  if ((found.inode.mode & S_IFMT) != found.entry.type) {
    return damaged(fmt::format("inode {}: an entry leads to inode {}, which is of another type",
                               parent, found.entry.ino));
  }
  // A sum of values that verify() has accepted.
  found.mapped_bytes = static_cast<uint64_t>(row.column_int(5));
  return found;
}

Result<Extent> Rows::decode_extent(const Statement& row, int first) const {
  RowReader reader(row);
  const Extent extent = {reader.number(first, columns::kExtentFileOffset),
                         reader.number(first + 1, columns::kExtentDataOffset),
                         reader.number(first + 2, columns::kExtentLength)};
  PMEMD_TRY(reader.done());
  if (extent.data().end > data_bytes_ || extent.file().end > kFileSizeMax) {
    return damaged(
        fmt::format("extent at {:#x}, data at {:#x}, {:#x} bytes: beyond the data area"
                    " or the largest file",
                    extent.file_offset, extent.data_offset, extent.length));
  }
  return extent;
}

// --- what a mount relies on

Result<void> Rows::verify() {
  PMEMD_TRY(verify_root());
  PMEMD_ASSIGN(const uint64_t next, next_index());
  const uint64_t end_of_numbers = first_ + std::max(next, kRootIndex + 1);
  Statement& unnumbered = bound(kUnnumbered, end_of_numbers, end_);
  PMEMD_ASSIGN(const bool is_unnumbered, unnumbered.step());
  if (is_unnumbered) {
    auto failure = damaged(fmt::format("{} of inode {}, a number that may be given again",
                                       unnumbered.column_text(0), unnumbered.column_int(1)));
    unnumbered.reset();
    return failure;
  }
  PMEMD_ASSIGN(const auto unlinked, orphans());
  if (unlinked.empty()) return {};  // otherwise all entries are examined
  PMEMD_ASSIGN(const auto entry, first<uint64_t>(bound(kOrphanEntry, first_, end_), count_of));
  if (entry) return damaged(fmt::format("inode {} has no links, but an entry", *entry));
  return {};
}

Result<void> Rows::verify_root() {
  const uint64_t root = first_ + kRootIndex;
  PMEMD_ASSIGN(const auto row, inode(root));
  if (row && row->is_directory() && row->nlink >= 2 && row->parent == root) return {};
  return damaged(fmt::format("inode {}: there is no root directory", root));
}

Result<uint64_t> Rows::next_index() {
  PMEMD_ASSIGN(auto index, first<uint64_t>(bound(kNextIndex, serial_),
                                           read_number(columns::kNamespaceNextIndex)));
  if (!index) {
    PMEMD_ASSIGN(index, first<uint64_t>(bound(kVolumeNextIndex, serial_),
                                        read_number(columns::kVolumeNextIndex)));
  }
  if (!index) return damaged(fmt::format("there is no namespace of serial {}", serial_));
  return *index;
}

// --- inodes

Result<std::optional<InodeRow>> Rows::inode(uint64_t ino) {
  return first<InodeRow>(bound(kInode, ino),
                         [&](const Statement& row) { return decode_inode(row, ino, 0); });
}

Result<std::string> Rows::target(uint64_t ino) {
  PMEMD_ASSIGN(auto target,
               first<std::string>(bound(kTarget, ino), read_bytes(columns::kInodeTarget)));
  if (!target) return fail(ESTALE);
  if (target->empty()) return damaged(fmt::format("inode {}: a link to nothing", ino));
  return *std::move(target);
}

Result<void> Rows::insert_inode(const InodeRow& row, std::string_view target) {
  Statement& insert = bound(kInsertInode, row.ino, uint64_t{row.mode}, uint64_t{row.uid},
                            uint64_t{row.gid}, uint64_t{row.nlink}, uint64_t{row.rdev}, row.parent,
                            row.size, row.atime, row.mtime, row.ctime, row.btime, target);
  return insert.run();
}

Result<void> Rows::update_inode(const InodeRow& row) {
  return bound(kUpdateInode, uint64_t{row.mode}, uint64_t{row.uid}, uint64_t{row.gid},
               uint64_t{row.nlink}, row.parent, row.size, row.atime, row.mtime, row.ctime, row.ino)
      .run();
}

Result<void> Rows::remove_inode(uint64_t ino) {
  PMEMD_TRY(bound(kRemoveInode, ino).run());
  PMEMD_TRY(bound(kRemoveExtents, ino).run());
  return bound(kRemoveXattrs, ino).run();
}

Result<std::vector<uint64_t>> Rows::orphans() {
  return collect<uint64_t>(bound(kOrphans, first_, end_), read_number(columns::kInodeIno));
}

Result<uint64_t> Rows::count_inodes() {
  PMEMD_ASSIGN(const auto count, first<uint64_t>(bound(kCountInodes, first_, end_), count_of));
  return count.value_or(0);
}

Result<bool> Rows::has_files() {
  for (const Sql table : {kHasInodes, kHasEntries}) {
    PMEMD_ASSIGN(const auto found, first<uint64_t>(bound(table, first_, end_), count_of));
    if (found) return true;
  }
  return false;
}

Result<uint64_t> Rows::reserve_indices(uint64_t count) {
  for (const Sql table : {kReserveIndices, kReserveVolumeIndices}) {
    PMEMD_ASSIGN(const auto ends,
                 collect<uint64_t>(bound(table, kRootIndex + 1, count, serial_), count_of));
    if (ends.empty()) continue;
    // One more would belong to the next namespace.
    if (ends.front() > make_inode_number(1, 0))
      return fail(ENOSPC, "all inode numbers have been used");
    return ends.front() - count;
  }
  return fail(EIO, "neither a namespace nor a volume in pool.db", kDamagedHint);
}

// --- directory entries

Result<std::optional<DirentRow>> Rows::dirent(uint64_t parent, std::string_view name) {
  return first<DirentRow>(bound(kDirent, parent, name),
                          [&](const Statement& row) { return decode_dirent(row, parent, name); });
}

Result<std::vector<DirentRow>> Rows::dirents_behind(uint64_t parent, uint64_t cookie,
                                                    uint64_t most) {
  return collect<DirentRow>(bound(kDirentsBehind, parent, cookie, most), [&](const Statement& row) {
    return decode_dirent(row, parent, std::nullopt);
  });
}

Result<std::optional<EntryRow>> Rows::entry(uint64_t parent, std::string_view name) {
  return first<EntryRow>(bound(kEntry, parent, name),
                         [&](const Statement& row) { return decode_entry(row, parent, name); });
}

Result<std::vector<EntryRow>> Rows::entries_behind(uint64_t parent, uint64_t cookie,
                                                   uint64_t most) {
  return collect<EntryRow>(bound(kEntriesBehind, parent, cookie, most), [&](const Statement& row) {
    return decode_entry(row, parent, std::nullopt);
  });
}

Result<Rows::Names> Rows::names_of(const std::set<uint64_t>& inos) {
  Statement& query = bound(kNames, first_, end_);
  Names names;
  for (;;) {
    PMEMD_ASSIGN(const bool row, query.step());
    if (!row) return names;
    RowReader reader(query);
    const auto ino = reader.number(0, columns::kDirentIno);
    const bool is_directory = reader.number(1, columns::kDirentType) == S_IFDIR >> kTypeShift;
    const auto parent = reader.number(2, columns::kDirentParent);
    const std::string_view name = reader.bytes(3, columns::kDirentName);
    // For reports: an inode behind a damaged entry gets no name.
    if (!reader.done() || (!is_directory && !inos.contains(ino))) continue;
    names.try_emplace(ino, parent, name);
  }
}

Result<void> Rows::insert_dirent(uint64_t parent, std::string_view name, const InodeRow& to) {
  PMEMD_TRY(
      bound(kInsertDirent, parent, name, to.ino, uint64_t{(to.mode & S_IFMT) >> kTypeShift}).run());
  // SQLite counts on from the greatest number in the table: a damaged pool may have the last one.
  if (db_->last_insert_rowid() > columns::kDirentCookie.max) return fail(ENOSPC);
  return {};
}

Result<void> Rows::move_dirent(uint64_t cookie, uint64_t parent, std::string_view name) {
  return bound(kMoveDirent, parent, name, cookie).run();
}

Result<void> Rows::retarget_dirent(uint64_t cookie, uint64_t ino, mode_t type) {
  return bound(kRetargetDirent, ino, uint64_t{(type & S_IFMT) >> kTypeShift}, cookie).run();
}

Result<void> Rows::remove_dirent(uint64_t cookie) { return bound(kRemoveDirent, cookie).run(); }

// --- extents

Result<std::vector<Extent>> Rows::extents(uint64_t ino) {
  uint64_t end = 0;
  return collect<Extent>(bound(kExtents, ino), [&](const Statement& row) -> Result<Extent> {
    PMEMD_ASSIGN(const Extent extent, decode_extent(row, 0));
    if (extent.file_offset < end) {
      return damaged(fmt::format("inode {}: extent at {:#x} overlaps the one before it", ino,
                                 extent.file_offset));
    }
    end = extent.file().end;
    return extent;
  });
}

Result<Rows::Owner> Rows::decode_owner(const Statement& row) const {
  RowReader reader(row);
  const uint64_t ino = reader.number(0, columns::kExtentIno);
  PMEMD_TRY(reader.done());
  PMEMD_ASSIGN(const Extent extent, decode_extent(row, 1));
  return Owner{ino, extent};
}

Result<std::vector<Rows::Owner>> Rows::owners(const DataRanges& ranges) {
  std::vector<Owner> owners;
  owners.reserve(ranges.size());
  for (auto next = ranges.begin(); next != ranges.end();) {
    PMEMD_ASSIGN(next, owners_of_run(next, end_of_run(next, ranges.end()), owners));
  }
  return owners;
}

// Walks the extents once for a whole run, as long as that costs less than a new query; returns the
// first range that it hasn't reached.
Result<DataRanges::const_iterator> Rows::owners_of_run(DataRanges::const_iterator next,
                                                       DataRanges::const_iterator end,
                                                       std::vector<Owner>& owners) {
  static_assert(kInodeSerialShift == 40);
  constexpr int kStepsBeforeSeek = 8;  // a step costs about a tenth of a seek
  Statement& query = bound(kOwners, serial_, next->begin, std::prev(end)->end);
  const ResetAtEnd reset{query};
  for (int in_vain = 0; in_vain < kStepsBeforeSeek;) {
    PMEMD_ASSIGN(const bool row, query.step());
    if (!row) return end;
    PMEMD_ASSIGN(const Owner owner, decode_owner(query));
    const Extent& whole = owner.extent;
    ++in_vain;
    for (; next != end && next->begin < whole.data().end; ++next) {
      const DataRange part = whole.data().intersect(*next);
      if (!part.empty()) {
        owners.push_back(
            {owner.ino,
             {whole.file_offset + (part.begin - whole.data_offset), part.begin, part.length()}});
        in_vain = 0;
      }
      if (next->end > whole.data().end) break;  // the next extent may have more of it
    }
    if (next == end) return end;
  }
  return next;
}

Result<std::vector<Rows::Owner>> Rows::extents_behind(const std::optional<Owner>& last,
                                                      uint64_t most) {
  const uint64_t root = first_ + kRootIndex;
  // After everything that could belong to the number before the first.
  uint64_t ino = last ? last->ino : first_ - 1;
  uint64_t file_offset = last ? last->extent.file_offset : uint64_t{INT64_MAX};
  uint64_t end = last ? last->extent.file().end : 0;
  return collect<Owner>(
      bound(kExtentsBehind, ino, file_offset, end_, most),
      [&](const Statement& row) -> Result<Owner> {
        PMEMD_ASSIGN(const Owner owner, decode_owner(row));
        const Extent& extent = owner.extent;
        if (owner.ino == ino && extent.file_offset < end) {
          return damaged(fmt::format("inode {}: extent at {:#x} overlaps the one before it", ino,
                                     extent.file_offset));
        }
        if (owner.ino == root && extent != Extent{0, data_bytes_ - kPageSize, kPageSize}) {
          return damaged(
              fmt::format("inode {}: an extent of the root directory that is no superblock", root));
        }
        ino = owner.ino;
        end = extent.file().end;
        return owner;
      });
}

Result<void> Rows::put_extent(uint64_t ino, const Extent& extent) {
  return bound(kPutExtent, ino, extent.file_offset, extent.data_offset, extent.length).run();
}

Result<void> Rows::erase_extent(uint64_t ino, uint64_t file_offset) {
  return bound(kEraseExtent, ino, file_offset).run();
}

// --- extended attributes

Result<std::optional<std::string>> Rows::xattr(uint64_t ino, std::string_view name) {
  return first<std::string>(bound(kXattr, ino, Text{name}), read_bytes(columns::kXattrValue));
}

Result<std::vector<std::string>> Rows::xattr_names(uint64_t ino) {
  return collect<std::string>(bound(kXattrNames, ino), read_bytes(columns::kXattrName));
}

Result<uint64_t> Rows::xattr_bytes(uint64_t ino) {
  PMEMD_ASSIGN(const auto bytes, first<uint64_t>(bound(kXattrBytes, ino), count_of));
  return bytes.value_or(0);
}

Result<void> Rows::put_xattr(uint64_t ino, std::string_view name, std::string_view value) {
  return bound(kPutXattr, ino, Text{name}, value).run();
}

Result<bool> Rows::erase_xattr(uint64_t ino, std::string_view name) {
  PMEMD_TRY(bound(kEraseXattr, ino, Text{name}).run());
  return db_->changes() > 0;
}

}  // namespace pmemd

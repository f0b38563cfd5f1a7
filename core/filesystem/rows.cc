#include "core/filesystem/rows.h"

#include <utility>

#include "core/region/schema.h"

namespace pmemd {
namespace {

// S_IFMT's bits, as the dirents table keeps them.
constexpr unsigned kTypeShift = 12;

// A name of an extended attribute; other strings are blobs.
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

uint64_t column(const Statement& statement, int index) {
  return static_cast<uint64_t>(statement.column_int(index));
}

uint64_t first_ino(uint64_t serial) { return make_inode_number(serial, 0); }

// A query that is left half read would hold its snapshot: also when memory runs out.
struct ResetAtEnd {
  Statement& query;
  ~ResetAtEnd() { query.reset(); }
};

// The rows of a query, each through `read`.
template <class T, class Read>
Result<std::vector<T>> collect(Statement& query, Read read) {
  const ResetAtEnd reset{query};
  std::vector<T> rows;
  for (;;) {
    PMEMD_ASSIGN(const bool row, query.step());
    if (!row) return rows;
    rows.push_back(read(query));
  }
}

// The one row of a query, through `read`, if there is one.
template <class T, class Read>
Result<std::optional<T>> first(Statement& query, Read read) {
  const ResetAtEnd reset{query};
  PMEMD_ASSIGN(const bool row, query.step());
  if (!row) return std::optional<T>();
  return std::optional<T>(read(query));
}

// From column `first` on, as kSqlText names them.
InodeRow inode_row(const Statement& row, uint64_t ino, int first) {
  return {.ino = ino,
          .mode = static_cast<mode_t>(row.column_int(first)),
          .uid = static_cast<uid_t>(row.column_int(first + 1)),
          .gid = static_cast<gid_t>(row.column_int(first + 2)),
          .nlink = static_cast<uint32_t>(row.column_int(first + 3)),
          .rdev = column(row, first + 4),
          .parent = column(row, first + 5),
          .size = column(row, first + 6),
          .atime = row.column_int(first + 7),
          .mtime = row.column_int(first + 8),
          .ctime = row.column_int(first + 9),
          .btime = row.column_int(first + 10)};
}

DirentRow dirent_row(const Statement& row, bool with_name) {
  return {column(row, 0), with_name ? row.column_blob(3) : std::string(), column(row, 1),
          static_cast<mode_t>(row.column_int(2) << kTypeShift)};
}

// Behind the columns of dirent_row() with a name.
EntryRow entry_row(const Statement& row, bool with_name) {
  return {dirent_row(row, with_name), inode_row(row, column(row, 1), 5), column(row, 4)};
}

// CROSS JOIN: the entries lead, in their order.
#define PMEMD_SELECT_ENTRIES                                                         \
  "SELECT cookie, dirents.ino, type, name,"                                          \
  " (SELECT coalesce(sum(length), 0) FROM extents WHERE extents.ino = dirents.ino)," \
  " mode, uid, gid, nlink, rdev, inodes.parent, size, atime, mtime, ctime, btime"    \
  " FROM dirents CROSS JOIN inodes ON inodes.ino = dirents.ino"

}  // namespace

// By Sql's order.
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
    "SELECT cookie, ino, type FROM dirents WHERE parent = ? AND name = ?",
    "SELECT cookie, ino, type, name FROM dirents WHERE parent = ? AND cookie > ?"
    " ORDER BY cookie LIMIT ?",
    PMEMD_SELECT_ENTRIES " WHERE dirents.parent = ? AND name = ?",
    PMEMD_SELECT_ENTRIES " WHERE dirents.parent = ? AND cookie > ? ORDER BY cookie LIMIT ?",
    "SELECT ino, type, parent, name FROM dirents WHERE parent >= ? AND parent < ?",
    "INSERT INTO dirents (parent, name, ino, type) VALUES (?, ?, ?, ?)",
    "UPDATE dirents SET parent = ?, name = ? WHERE cookie = ?",
    "UPDATE dirents SET ino = ?, type = ? WHERE cookie = ?",
    "DELETE FROM dirents WHERE cookie = ?",
    "SELECT file_offset, data_offset, length FROM extents WHERE ino = ? ORDER BY file_offset",
    "SELECT data_offset, length FROM extents WHERE ino >= ? AND ino < ?",
    // Extents of a namespace don't overlap: the last that begins at or before the range's begin is
    // the first that can reach into it.
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

Result<Rows> Rows::prepare(Database& db) {
  Rows rows(db);
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

// --- inodes

Result<std::optional<InodeRow>> Rows::inode(uint64_t ino) {
  return first<InodeRow>(bound(kInode, ino),
                         [ino](const Statement& row) { return inode_row(row, ino, 0); });
}

Result<std::string> Rows::target(uint64_t ino) {
  PMEMD_ASSIGN(auto target, first<std::string>(bound(kTarget, ino), [](const Statement& row) {
                 return row.column_blob(0);
               }));
  if (!target) return fail(ESTALE);
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

Result<std::vector<uint64_t>> Rows::orphans(uint64_t serial) {
  return collect<uint64_t>(bound(kOrphans, first_ino(serial), first_ino(serial + 1)),
                           [](const Statement& row) { return column(row, 0); });
}

Result<uint64_t> Rows::count_inodes(uint64_t serial) {
  PMEMD_ASSIGN(const auto count,
               first<uint64_t>(bound(kCountInodes, first_ino(serial), first_ino(serial + 1)),
                               [](const Statement& row) { return column(row, 0); }));
  return count.value_or(0);
}

Result<uint64_t> Rows::reserve_indices(uint64_t serial, uint64_t count) {
  for (const Sql table : {kReserveIndices, kReserveVolumeIndices}) {
    PMEMD_ASSIGN(const auto ends,
                 collect<uint64_t>(bound(table, kRootIndex + 1, count, serial),
                                   [](const Statement& row) { return column(row, 0); }));
    if (!ends.empty()) return ends.front() - count;
  }
  return fail(EIO, "neither a namespace nor a volume in pool.db");
}

// --- directory entries

Result<std::optional<DirentRow>> Rows::dirent(uint64_t parent, std::string_view name) {
  return first<DirentRow>(bound(kDirent, parent, name),
                          [](const Statement& row) { return dirent_row(row, false); });
}

Result<std::vector<DirentRow>> Rows::dirents_behind(uint64_t parent, uint64_t cookie,
                                                    uint64_t most) {
  return collect<DirentRow>(bound(kDirentsBehind, parent, cookie, most),
                            [](const Statement& row) { return dirent_row(row, true); });
}

Result<std::optional<EntryRow>> Rows::entry(uint64_t parent, std::string_view name) {
  return first<EntryRow>(bound(kEntry, parent, name),
                         [](const Statement& row) { return entry_row(row, false); });
}

Result<std::vector<EntryRow>> Rows::entries_behind(uint64_t parent, uint64_t cookie,
                                                   uint64_t most) {
  return collect<EntryRow>(bound(kEntriesBehind, parent, cookie, most),
                           [](const Statement& row) { return entry_row(row, true); });
}

Result<Rows::Names> Rows::names_of(uint64_t serial, const std::set<uint64_t>& inos) {
  Statement& query = bound(kNames, first_ino(serial), first_ino(serial + 1));
  Names names;
  for (;;) {
    PMEMD_ASSIGN(const bool row, query.step());
    if (!row) return names;
    const uint64_t ino = column(query, 0);
    const bool is_directory = column(query, 1) == S_IFDIR >> kTypeShift;
    if (!is_directory && !inos.contains(ino)) continue;
    names.try_emplace(ino, column(query, 2), query.column_blob(3));
  }
}

Result<void> Rows::insert_dirent(uint64_t parent, std::string_view name, const InodeRow& to) {
  return bound(kInsertDirent, parent, name, to.ino, uint64_t{(to.mode & S_IFMT) >> kTypeShift})
      .run();
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
  return collect<Extent>(bound(kExtents, ino), [](const Statement& row) {
    return Extent{column(row, 0), column(row, 1), column(row, 2)};
  });
}

Result<std::vector<DataRange>> Rows::used(uint64_t serial) {
  return collect<DataRange>(
      bound(kUsed, first_ino(serial), first_ino(serial + 1)),
      [](const Statement& row) { return DataRange::sized(column(row, 0), column(row, 1)); });
}

Result<std::vector<Rows::Owner>> Rows::owners(uint64_t serial, DataRange range) {
  static_assert(kInodeSerialShift == 40);
  PMEMD_ASSIGN(
      auto owners,
      collect<Owner>(bound(kOwners, serial, range.begin, range.end), [](const Statement& row) {
        return Owner{column(row, 0), Extent{column(row, 1), column(row, 2), column(row, 3)}};
      }));
  std::erase_if(owners, [&](Owner& owner) {
    const Extent& whole = owner.extent;
    const DataRange part = whole.data().intersect(range);
    owner.extent = {whole.file_offset + (part.begin - whole.data_offset), part.begin,
                    part.length()};
    return part.empty();
  });
  return owners;
}

Result<void> Rows::put_extent(uint64_t ino, const Extent& extent) {
  return bound(kPutExtent, ino, extent.file_offset, extent.data_offset, extent.length).run();
}

Result<void> Rows::erase_extent(uint64_t ino, uint64_t file_offset) {
  return bound(kEraseExtent, ino, file_offset).run();
}

// --- extended attributes

Result<std::optional<std::string>> Rows::xattr(uint64_t ino, std::string_view name) {
  return first<std::string>(bound(kXattr, ino, Text{name}),
                            [](const Statement& row) { return row.column_blob(0); });
}

Result<std::vector<std::string>> Rows::xattr_names(uint64_t ino) {
  return collect<std::string>(bound(kXattrNames, ino),
                              [](const Statement& row) { return row.column_text(0); });
}

Result<uint64_t> Rows::xattr_bytes(uint64_t ino) {
  PMEMD_ASSIGN(const auto bytes, first<uint64_t>(bound(kXattrBytes, ino), [](const Statement& row) {
                 return column(row, 0);
               }));
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

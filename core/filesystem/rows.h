// The file system's rows in pool.db: prepared statements, one function each.
//
// Every value that is read was accepted by its column (core/pool/columns.h) and belongs to this
// file system; every row is the one that was asked for, whatever an index says; an extent lies in
// the data area, after the one before it. Otherwise EIO, which says what is wrong: the database is
// damaged.
//
// Thread contract: the database's mutex is held around each call (by a Transaction, if the call
// changes something).
// Errors: the database's (ENOSPC, EIO, …); others are named.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/database/database.h"
#include "core/filesystem/extent.h"
#include "core/filesystem/inode.h"
#include "core/range/range.h"

namespace pmemd {

struct DirentRow {
  uint64_t cookie = 0;
  std::string name;  // unless the query was by name
  uint64_t ino = 0;
  mode_t type = 0;  // S_IFMT bits
};

// An entry, and what getattr() returns for the inode that it leads to.
struct EntryRow {
  DirentRow entry;
  InodeRow inode;
  uint64_t mapped_bytes = 0;  // of all its extents
};

class Rows {
 public:
  // For the namespace or volume with that serial, whose data area has `data_bytes`.
  static Result<Rows> prepare(Database& db, uint64_t serial, uint64_t data_bytes);

  // Checks what a mount relies on beside the extents (extent_scan.h), at no more than their cost:
  // the root directory is one; no row has an inode number that is still unused; no inode without
  // links has an entry. EIO.
  Result<void> verify();

  // --- inodes
  Result<std::optional<InodeRow>> inode(uint64_t ino);
  Result<std::string> target(uint64_t ino);  // of a symbolic link
  Result<void> insert_inode(const InodeRow& row, std::string_view target);
  Result<void> update_inode(const InodeRow& row);  // all but type, device, birth and target
  Result<void> remove_inode(uint64_t ino);         // with its extents and xattrs
  Result<std::vector<uint64_t>> orphans();
  Result<uint64_t> count_inodes();
  // Whether there are inodes with links, or entries.
  Result<bool> has_files();
  // Gives `count` indices to the caller; returns the first. ENOSPC: all are used up.
  Result<uint64_t> reserve_indices(uint64_t count);

  // --- directory entries
  Result<std::optional<DirentRow>> dirent(uint64_t parent, std::string_view name);
  Result<std::vector<DirentRow>> dirents_behind(uint64_t parent, uint64_t cookie, uint64_t most);
  // The same with the inodes, in one statement.
  Result<std::optional<EntryRow>> entry(uint64_t parent, std::string_view name);
  Result<std::vector<EntryRow>> entries_behind(uint64_t parent, uint64_t cookie, uint64_t most);
  // An entry of each directory of the namespace, and of each of `inos`: its parent and its name.
  using Names = std::map<uint64_t, std::pair<uint64_t, std::string>>;
  Result<Names> names_of(const std::set<uint64_t>& inos);
  Result<void> insert_dirent(uint64_t parent, std::string_view name,
                             const InodeRow& to);  // EEXIST, ENOSPC
  Result<void> move_dirent(uint64_t cookie, uint64_t parent, std::string_view name);  // EEXIST
  Result<void> retarget_dirent(uint64_t cookie, uint64_t ino, mode_t type);
  Result<void> remove_dirent(uint64_t cookie);

  // --- extents
  Result<std::vector<Extent>> extents(uint64_t ino);
  // The inodes' parts of `ranges`, in the order of `ranges`.
  struct Owner {
    uint64_t ino = 0;
    Extent extent;  // clipped to a range
  };
  Result<std::vector<Owner>> owners(const DataRanges& ranges);
  // Extents of all files, in the order of the table's keys, after `last`: disjoint in their file,
  // and of the root only the superblock's.
  Result<std::vector<Owner>> extents_behind(const std::optional<Owner>& last, uint64_t most);
  Result<void> put_extent(uint64_t ino, const Extent& extent);
  Result<void> erase_extent(uint64_t ino, uint64_t file_offset);

  // --- extended attributes
  Result<std::optional<std::string>> xattr(uint64_t ino, std::string_view name);
  Result<std::vector<std::string>> xattr_names(uint64_t ino);
  Result<uint64_t> xattr_bytes(uint64_t ino);  // names and values
  Result<void> put_xattr(uint64_t ino, std::string_view name, std::string_view value);
  Result<bool> erase_xattr(uint64_t ino, std::string_view name);  // false: there was none

 private:
  enum Sql : size_t {
    kInode,
    kTarget,
    kInsertInode,
    kUpdateInode,
    kRemoveInode,
    kRemoveExtents,
    kRemoveXattrs,
    kOrphans,
    kCountInodes,
    kReserveIndices,
    kReserveVolumeIndices,
    kDirent,
    kDirentsBehind,
    kEntry,
    kEntriesBehind,
    kHasInodes,
    kHasEntries,
    kNextIndex,
    kVolumeNextIndex,
    kUnnumbered,
    kOrphanEntry,
    kNames,
    kInsertDirent,
    kMoveDirent,
    kRetargetDirent,
    kRemoveDirent,
    kExtents,
    kExtentsBehind,
    kOwners,
    kPutExtent,
    kEraseExtent,
    kXattr,
    kXattrNames,
    kXattrBytes,
    kPutXattr,
    kEraseXattr,
    kSqlCount,
  };
  static const std::array<const char*, kSqlCount> kSqlText;

  Rows(Database& db, uint64_t serial, uint64_t data_bytes);

  template <class... Values>
  Statement& bound(Sql sql, const Values&... values);

  // Whether an inode number is one of this file system's.
  bool is_ours(uint64_t ino) const { return ino > first_ && ino < end_; }
  Result<InodeRow> decode_inode(const Statement& row, uint64_t ino, int first) const;
  // For an entry in `parent`; `name`: the name that it was asked by; without one, keeps the row's.
  Result<DirentRow> decode_dirent(const Statement& row, uint64_t parent,
                                  std::optional<std::string_view> name) const;
  Result<EntryRow> decode_entry(const Statement& row, uint64_t parent,
                                std::optional<std::string_view> name) const;
  Result<Extent> decode_extent(const Statement& row, int first) const;
  Result<DataRanges::const_iterator> owners_of_run(DataRanges::const_iterator next,
                                                   DataRanges::const_iterator end,
                                                   std::vector<Owner>& owners);
  Result<Owner> decode_owner(const Statement& row) const;
  Result<void> verify_root();
  Result<uint64_t> next_index();

  Database* db_;
  uint64_t serial_;
  uint64_t data_bytes_;
  uint64_t first_;  // of its inode numbers; index 0, which no inode has
  uint64_t end_;
  std::array<Statement, kSqlCount> statements_;
};

}  // namespace pmemd

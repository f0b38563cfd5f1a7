// The tables of pool.db. docs/pool-format.md explains them; a change here is a new version.
//
// Version rule: PRAGMA application_id marks it as ours, PRAGMA user_version is the version.
// A newer one is refused and not touched; an older one is upgraded in one transaction.
//
// Inode numbers are pool-wide: (namespace serial << kInodeSerialShift) | index, index from 1 (the
// root directory of an fsdax, the one file of the others). Neither half is ever reused, so that a
// node id that the kernel still holds never means another file. All rows of a namespace's inodes
// lie in one key range.
#pragma once

#include <array>
#include <cstdint>

namespace pmemd {

inline constexpr int32_t kPoolApplicationId = 0x706d656d;  // "pmem"
inline constexpr int32_t kPoolVersion = 4;

inline constexpr unsigned kInodeSerialShift = 40;
inline constexpr uint64_t kRootIndex = 1;
// Serials are below this, because SQLite's integers are signed: even the end of the last serial's
// numbers must be one.
inline constexpr uint64_t kSerialEnd = (uint64_t{1} << (63 - kInodeSerialShift)) - 1;

constexpr uint64_t make_inode_number(uint64_t serial, uint64_t index) {
  return (serial << kInodeSerialShift) | index;
}
constexpr uint64_t inode_serial(uint64_t ino) { return ino >> kInodeSerialShift; }

inline constexpr const char* kPoolSchema = R"sql(
CREATE TABLE meta (          -- one row
  uuid TEXT NOT NULL,
  next_serial INTEGER NOT NULL,
  next_event INTEGER NOT NULL
);
CREATE TABLE regions (
  id INTEGER PRIMARY KEY,
  size INTEGER NOT NULL,     -- bytes
  base INTEGER NOT NULL,     -- emulated physical address
  sparse INTEGER NOT NULL,   -- 0, 1
  live INTEGER NOT NULL      -- 0 while it is made: the next open removes it and its image
);
CREATE TABLE namespaces (
  serial INTEGER PRIMARY KEY,
  region INTEGER NOT NULL REFERENCES regions(id),
  id INTEGER NOT NULL,
  uuid TEXT NOT NULL,
  mode TEXT NOT NULL,        -- 'fsdax', 'devdax', 'private', 'p2p'
  start INTEGER NOT NULL,    -- bytes in the region
  size INTEGER NOT NULL,     -- bytes, metadata included
  align INTEGER NOT NULL,
  live INTEGER NOT NULL,     -- 0 while it is made or destroyed: the next open destroys it
  clean INTEGER NOT NULL,    -- 0 while enabled
  next_index INTEGER NOT NULL, -- inode indices from here on were never used
  UNIQUE (region, id)
);
CREATE TABLE inodes (
  ino INTEGER PRIMARY KEY,
  mode INTEGER NOT NULL,     -- S_IF* and permissions
  uid INTEGER NOT NULL,
  gid INTEGER NOT NULL,
  nlink INTEGER NOT NULL,
  rdev INTEGER NOT NULL,
  parent INTEGER NOT NULL DEFAULT 0,  -- directories: what ".." is
  size INTEGER NOT NULL,     -- bytes; directories: number of entries
  atime INTEGER NOT NULL,    -- nanoseconds since the epoch
  mtime INTEGER NOT NULL,
  ctime INTEGER NOT NULL,
  btime INTEGER NOT NULL,
  target BLOB                -- symbolic links
);
CREATE INDEX orphans ON inodes (ino) WHERE nlink = 0;
CREATE TABLE dirents (
  cookie INTEGER PRIMARY KEY,  -- readdir's position
  parent INTEGER NOT NULL,
  name BLOB NOT NULL,
  ino INTEGER NOT NULL,
  type INTEGER NOT NULL,       -- mode's S_IFMT bits >> 12, as readdir wants it
  UNIQUE (parent, name)
);
CREATE INDEX dirents_in_order ON dirents (parent, cookie);
CREATE TABLE extents (
  ino INTEGER NOT NULL,
  file_offset INTEGER NOT NULL,  -- bytes, multiples of 4096, as the rest
  data_offset INTEGER NOT NULL,  -- in the namespace's data area
  length INTEGER NOT NULL,
  PRIMARY KEY (ino, file_offset)
) WITHOUT ROWID;
CREATE TABLE xattrs (
  ino INTEGER NOT NULL,
  name TEXT NOT NULL,
  value BLOB NOT NULL,
  PRIMARY KEY (ino, name)
) WITHOUT ROWID;
)sql";

inline constexpr const char* kPoolSchema3 = R"sql(
CREATE TABLE IF NOT EXISTS badblocks (     -- of regions; those of a kind are disjoint and merged
  region INTEGER NOT NULL REFERENCES regions(id),
  kind INTEGER NOT NULL,     -- 0 known, 1 injected
  start INTEGER NOT NULL,    -- bytes in the region
  length INTEGER NOT NULL,
  PRIMARY KEY (region, kind, start)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS settings (      -- of namespaces and volumes; absent: the default
  serial INTEGER NOT NULL,
  name TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (serial, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS volumes (
  serial INTEGER PRIMARY KEY,  -- one counter with namespaces
  id INTEGER NOT NULL UNIQUE,  -- volume<id>
  uuid TEXT NOT NULL,
  type TEXT NOT NULL,          -- 'linear', 'striped'
  chunk INTEGER NOT NULL,      -- bytes; of a linear one 0
  live INTEGER NOT NULL,       -- as in namespaces
  clean INTEGER NOT NULL,
  next_index INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS volume_legs (
  volume INTEGER NOT NULL REFERENCES volumes(serial),
  position INTEGER NOT NULL,
  leg INTEGER NOT NULL UNIQUE,  -- serial of a namespace or volume
  PRIMARY KEY (volume, position)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (        -- the last ones
  seq INTEGER PRIMARY KEY,
  time INTEGER NOT NULL,     -- nanoseconds since the epoch
  kind TEXT NOT NULL,
  namespace TEXT NOT NULL,
  start INTEGER NOT NULL,    -- bytes in its data area
  length INTEGER NOT NULL,
  file BLOB,                 -- null: the event is about no file
  file_offset INTEGER,
  file_length INTEGER
);
-- The reverse map: which file a byte of the data area belongs to.
CREATE INDEX IF NOT EXISTS extents_by_data ON extents (ino >> 40, data_offset);
)sql";

inline constexpr const char* kPoolSchema4 = R"sql(
CREATE TABLE IF NOT EXISTS extent_checksums (  -- of what is clean; absent: not known
  serial INTEGER PRIMARY KEY,  -- of a namespace or volume
  checksum INTEGER NOT NULL    -- of all rows of its inodes in extents
);
)sql";

// The tables that each version added; make_tables() of core/pool/upgrade.h makes them. An
// interrupted upgrade may leave a database that has them already: its header changes last.
struct SchemaStep {
  int32_t version;
  const char* sql;
};
inline constexpr std::array kPoolSchemaSteps = {
    SchemaStep{1, kPoolSchema}, SchemaStep{3, kPoolSchema3}, SchemaStep{4, kPoolSchema4}};

}  // namespace pmemd

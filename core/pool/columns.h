// What each column of pool.db may hold, declared once: for code that reads rows, and for `check`.
//
// SQLite types values, not columns: in a damaged database an INTEGER column may hold a text, a
// NULL, or any 64 bits, and sqlite3_column_int64() makes a number of each. So no value of the
// database is used before its column here has accepted it. The code that reads the rows checks
// rules that need more than one value (a range that ends in its data area, rows that overlap).
//
// Thread contract: constants; a RowReader belongs to one thread, and lives as long as the row.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/base/units.h"
#include "core/database/database.h"
#include "core/pagemap/pfn.h"
#include "core/pool/schema.h"

namespace pmemd {

// Limits of what is stored in a file system, all of them ext4's.
inline constexpr size_t kNameMax = 255;
inline constexpr size_t kSymlinkTargetMax = 4095;
inline constexpr uint32_t kLinkMax = 65000;
inline constexpr uint64_t kFileSizeMax = uint64_t{UINT32_MAX} * kPageSize;
// The kernel's.
inline constexpr size_t kXattrNameMax = 255;
inline constexpr uint64_t kXattrSizeMax = 64 * kKiB;
// The extended attributes that are kept: those with these prefixes, and the kernel's ACLs.
inline constexpr std::array<std::string_view, 3> kXattrPrefixes = {"user.", "trusted.",
                                                                   "security."};
inline constexpr std::string_view kAclAccessName = "system.posix_acl_access";
inline constexpr std::string_view kAclDefaultName = "system.posix_acl_default";

struct Column {
  enum class Type : uint8_t { kInteger, kText, kBlob };

  std::string_view table;
  std::string_view name;
  Type type = Type::kInteger;
  // An integer: the least and the greatest. A text or blob: its length in bytes.
  int64_t min = std::numeric_limits<int64_t>::min();
  int64_t max = std::numeric_limits<int64_t>::max();
  int64_t align = 1;  // an integer is a multiple of it; a power of two
  bool is_nullable = false;
  bool (*is_legal_integer)(int64_t) = nullptr;         // null: any within the bounds
  bool (*is_legal_bytes)(std::string_view) = nullptr;  // the same

  bool accepts(const Statement::Value& value) const;
  bool accepts(const Statement& row, int index) const { return accepts(row.column(index)); }
  // Describes a value that isn't accepted: "inodes.uid is 1099511627776: not in [0, …]".
  std::string problem(const Statement& row, int index) const;
};

namespace columns {

using Type = Column::Type;

bool is_uuid(std::string_view text);
bool is_namespace_mode(std::string_view text);
bool is_volume_type(std::string_view text);
bool is_inode_mode(int64_t mode);      // a known type, and only type and permission bits
bool is_entry_type(int64_t type);      // a known type
bool is_entry_name(std::string_view);  // no '/', no NUL, neither "." nor ".."
bool has_no_nul(std::string_view text);
bool is_xattr_name(std::string_view);  // has a prefix that is kept, and something after it

inline constexpr int64_t kIdMax = UINT32_MAX;
inline constexpr int64_t kUserMax = int64_t{UINT32_MAX} - 1;  // (uid_t)-1 is nobody
inline constexpr int64_t kSerialMax = int64_t{kSerialEnd} - 1;
inline constexpr int64_t kAddressEnd = int64_t{kPhysicalAddressEnd};
inline constexpr int64_t kIndexEnd = int64_t{1} << kInodeSerialShift;
inline constexpr int64_t kFileEnd = int64_t{kFileSizeMax};
inline constexpr int64_t kPage = int64_t{kPageSize};
// Rows are numbered upwards from 1; a number near SQLite's last would break their order.
inline constexpr int64_t kRowMax = int64_t{1} << 62;
inline constexpr int64_t kAny = std::numeric_limits<int64_t>::max();
inline constexpr int64_t kPathMax = 16 * int64_t{kMiB};

// An integer column whose values are in [min, max].
constexpr Column number(std::string_view table, std::string_view name, int64_t min, int64_t max,
                        int64_t align = 1) {
  return {.table = table, .name = name, .min = min, .max = max, .align = align};
}
constexpr Column flag(std::string_view table, std::string_view name) {
  return number(table, name, 0, 1);
}
constexpr Column time(std::string_view table, std::string_view name) {
  return {.table = table, .name = name};
}
constexpr Column text(std::string_view table, std::string_view name, int64_t min, int64_t max,
                      bool (*is_legal)(std::string_view) = nullptr) {
  return {.table = table,
          .name = name,
          .type = Type::kText,
          .min = min,
          .max = max,
          .is_legal_bytes = is_legal};
}
constexpr Column blob(std::string_view table, std::string_view name, int64_t min, int64_t max,
                      bool (*is_legal)(std::string_view) = nullptr) {
  Column column = text(table, name, min, max, is_legal);
  column.type = Type::kBlob;
  return column;
}
constexpr Column or_null(Column column) {
  column.is_nullable = true;
  return column;
}
constexpr Column only(Column column, bool (*is_legal)(int64_t)) {
  column.is_legal_integer = is_legal;
  return column;
}

inline constexpr Column kMetaUuid = text("meta", "uuid", 36, 36, is_uuid);
inline constexpr Column kMetaNextSerial = number("meta", "next_serial", 1, kSerialMax + 1);
inline constexpr Column kMetaNextEvent = number("meta", "next_event", 1, kRowMax);

inline constexpr Column kRegionId = number("regions", "id", 0, kIdMax);
inline constexpr Column kRegionSize = number("regions", "size", 0, kAddressEnd);
inline constexpr Column kRegionBase = number("regions", "base", 0, kAddressEnd);
inline constexpr Column kRegionSparse = flag("regions", "sparse");
inline constexpr Column kRegionLive = flag("regions", "live");

inline constexpr Column kNamespaceSerial = number("namespaces", "serial", 1, kSerialMax);
inline constexpr Column kNamespaceRegion = number("namespaces", "region", 0, kIdMax);
inline constexpr Column kNamespaceId = number("namespaces", "id", 0, kIdMax);
inline constexpr Column kNamespaceUuid = text("namespaces", "uuid", 36, 36, is_uuid);
inline constexpr Column kNamespaceMode = text("namespaces", "mode", 1, 16, is_namespace_mode);
inline constexpr Column kNamespaceStart = number("namespaces", "start", 0, kAddressEnd);
inline constexpr Column kNamespaceSize = number("namespaces", "size", 0, kAddressEnd);
inline constexpr Column kNamespaceAlign = number("namespaces", "align", 0, kAddressEnd);
inline constexpr Column kNamespaceLive = flag("namespaces", "live");
inline constexpr Column kNamespaceClean = flag("namespaces", "clean");
inline constexpr Column kNamespaceNextIndex = number("namespaces", "next_index", 1, kIndexEnd);

inline constexpr Column kVolumeSerial = number("volumes", "serial", 1, kSerialMax);
inline constexpr Column kVolumeId = number("volumes", "id", 0, kIdMax);
inline constexpr Column kVolumeUuid = text("volumes", "uuid", 36, 36, is_uuid);
inline constexpr Column kVolumeType = text("volumes", "type", 1, 16, is_volume_type);
inline constexpr Column kVolumeChunk = number("volumes", "chunk", 0, kAddressEnd);
inline constexpr Column kVolumeLive = flag("volumes", "live");
inline constexpr Column kVolumeClean = flag("volumes", "clean");
inline constexpr Column kVolumeNextIndex = number("volumes", "next_index", 1, kIndexEnd);

inline constexpr Column kLegVolume = number("volume_legs", "volume", 1, kSerialMax);
inline constexpr Column kLegPosition = number("volume_legs", "position", 0, kIdMax);
inline constexpr Column kLegSerial = number("volume_legs", "leg", 1, kSerialMax);

inline constexpr Column kInodeIno = number("inodes", "ino", 1, kAny);
inline constexpr Column kInodeMode = only(number("inodes", "mode", 0, 0177777), is_inode_mode);
inline constexpr Column kInodeUid = number("inodes", "uid", 0, kUserMax);
inline constexpr Column kInodeGid = number("inodes", "gid", 0, kUserMax);
inline constexpr Column kInodeNlink = number("inodes", "nlink", 0, int64_t{kLinkMax});
inline constexpr Column kInodeRdev = number("inodes", "rdev", 0, int64_t{UINT32_MAX});
inline constexpr Column kInodeParent = number("inodes", "parent", 0, kAny);
inline constexpr Column kInodeSize = number("inodes", "size", 0, kFileEnd);
inline constexpr Column kInodeAtime = time("inodes", "atime");
inline constexpr Column kInodeMtime = time("inodes", "mtime");
inline constexpr Column kInodeCtime = time("inodes", "ctime");
inline constexpr Column kInodeBtime = time("inodes", "btime");
inline constexpr Column kInodeTarget =
    or_null(blob("inodes", "target", 0, int64_t{kSymlinkTargetMax}, has_no_nul));

inline constexpr Column kDirentCookie = number("dirents", "cookie", 1, kRowMax);
inline constexpr Column kDirentParent = number("dirents", "parent", 1, kAny);
inline constexpr Column kDirentName = blob("dirents", "name", 1, int64_t{kNameMax}, is_entry_name);
inline constexpr Column kDirentIno = number("dirents", "ino", 1, kAny);
inline constexpr Column kDirentType = only(number("dirents", "type", 0, 15), is_entry_type);

inline constexpr Column kExtentIno = number("extents", "ino", 1, kAny);
inline constexpr Column kExtentFileOffset = number("extents", "file_offset", 0, kFileEnd, kPage);
inline constexpr Column kExtentDataOffset = number("extents", "data_offset", 0, kAddressEnd, kPage);
inline constexpr Column kExtentLength = number("extents", "length", kPage, kFileEnd, kPage);

inline constexpr Column kXattrIno = number("xattrs", "ino", 1, kAny);
inline constexpr Column kXattrName =
    text("xattrs", "name", 1, int64_t{kXattrNameMax}, is_xattr_name);
inline constexpr Column kXattrValue = blob("xattrs", "value", 0, int64_t{kXattrSizeMax});

inline constexpr Column kBadRegion = number("badblocks", "region", 0, kIdMax);
inline constexpr Column kBadKind = flag("badblocks", "kind");
inline constexpr Column kBadStart = number("badblocks", "start", 0, kAddressEnd);
inline constexpr Column kBadLength = number("badblocks", "length", 1, kAddressEnd);

inline constexpr Column kSettingSerial = number("settings", "serial", 1, kSerialMax);
inline constexpr Column kSettingName = text("settings", "name", 1, 64, has_no_nul);
inline constexpr Column kSettingValue = text("settings", "value", 1, 64, has_no_nul);

inline constexpr Column kChecksumSerial = number("extent_checksums", "serial", 1, kSerialMax);
inline constexpr Column kChecksumValue = {.table = "extent_checksums", .name = "checksum"};

inline constexpr Column kEventSeq = number("events", "seq", 1, kRowMax);
inline constexpr Column kEventTime = time("events", "time");
inline constexpr Column kEventKind = text("events", "kind", 1, 64);
inline constexpr Column kEventNamespace = text("events", "namespace", 0, 64);
inline constexpr Column kEventStart = number("events", "start", 0, kAny);
inline constexpr Column kEventLength = number("events", "length", 0, kAny);
inline constexpr Column kEventFile = or_null(blob("events", "file", 0, kPathMax));
inline constexpr Column kEventFileOffset = or_null(number("events", "file_offset", 0, kAny));
inline constexpr Column kEventFileLength = or_null(number("events", "file_length", 0, kAny));

}  // namespace columns

// All columns, grouped by table, in the schema's order.
std::span<const Column> all_columns();

// The hint of errors about a damaged database.
inline constexpr const char* kDamagedHint =
    "pmemd --check shows all of it; restore pool.db from a backup; the images are untouched";

// Reads the columns of one row. A value that its column doesn't accept reads as zero or as empty,
// and done() reports it: call it before using anything that was read.
class RowReader {
 public:
  explicit RowReader(const Statement& row) : row_(row) {}

  int64_t integer(int index, const Column& column) {
    const Statement::Value value = row_.column(index);
    return accepts(value, index, column) ? value.integer() : 0;
  }
  template <class T = uint64_t>
  T number(int index, const Column& column) {
    return static_cast<T>(integer(index, column));
  }
  // Valid until the statement's next step.
  std::string_view bytes(int index, const Column& column) {
    const Statement::Value value = row_.column(index);
    return accepts(value, index, column) ? value.bytes() : std::string_view();
  }

  // EIO: a value wasn't accepted; the message describes the first.
  Result<void> done() const;

 private:
  bool accepts(const Statement::Value& value, int index, const Column& column) {
    if (column.accepts(value)) [[likely]] {
      return true;
    }
    if (bad_ == nullptr) {
      bad_ = &column;
      bad_index_ = index;
    }
    return false;
  }

  const Statement& row_;
  const Column* bad_ = nullptr;
  int bad_index_ = 0;
};

}  // namespace pmemd

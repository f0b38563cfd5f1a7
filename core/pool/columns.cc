#include "core/pool/columns.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <uuid/uuid.h>

#include <algorithm>
#include <array>

#include "core/base/units.h"
#include "core/pool/records.h"
#include "core/pool/volume_table.h"

namespace pmemd {
namespace columns {

bool is_uuid(std::string_view text) {
  uuid_t ignored;
  return uuid_parse(std::string(text).c_str(), ignored) == 0;
}

bool is_namespace_mode(std::string_view text) { return parse_namespace_mode(text).has_value(); }

bool is_volume_type(std::string_view text) { return parse_volume_type(text).has_value(); }

bool is_inode_mode(int64_t mode) { return is_entry_type(mode >> 12); }

bool is_entry_type(int64_t type) {
  switch (type << 12) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
    case S_IFIFO:
    case S_IFSOCK:
    case S_IFCHR:
    case S_IFBLK:
      return true;
    default:
      return false;
  }
}

bool has_no_nul(std::string_view text) { return text.find('\0') == text.npos; }

bool is_xattr_name(std::string_view name) {
  if (name == kAclAccessName || name == kAclDefaultName) return true;
  return has_no_nul(name) && std::ranges::any_of(kXattrPrefixes, [name](std::string_view prefix) {
           return name.starts_with(prefix) && name.size() > prefix.size();
         });
}

bool is_entry_name(std::string_view name) {
  return name != "." && name != ".." && name.find('/') == name.npos && has_no_nul(name);
}

}  // namespace columns

namespace {

constexpr size_t kShownBytes = 64;

constexpr std::array kColumns = {
    columns::kMetaUuid,           columns::kMetaNextSerial,   columns::kMetaNextEvent,
    columns::kRegionId,           columns::kRegionSize,       columns::kRegionBase,
    columns::kRegionSparse,       columns::kRegionLive,       columns::kNamespaceSerial,
    columns::kNamespaceRegion,    columns::kNamespaceId,      columns::kNamespaceUuid,
    columns::kNamespaceMode,      columns::kNamespaceStart,   columns::kNamespaceSize,
    columns::kNamespaceAlign,     columns::kNamespaceLive,    columns::kNamespaceClean,
    columns::kNamespaceNextIndex, columns::kVolumeSerial,     columns::kVolumeId,
    columns::kVolumeUuid,         columns::kVolumeType,       columns::kVolumeChunk,
    columns::kVolumeLive,         columns::kVolumeClean,      columns::kVolumeNextIndex,
    columns::kLegVolume,          columns::kLegPosition,      columns::kLegSerial,
    columns::kInodeIno,           columns::kInodeMode,        columns::kInodeUid,
    columns::kInodeGid,           columns::kInodeNlink,       columns::kInodeRdev,
    columns::kInodeParent,        columns::kInodeSize,        columns::kInodeAtime,
    columns::kInodeMtime,         columns::kInodeCtime,       columns::kInodeBtime,
    columns::kInodeTarget,        columns::kDirentCookie,     columns::kDirentParent,
    columns::kDirentName,         columns::kDirentIno,        columns::kDirentType,
    columns::kExtentIno,          columns::kExtentFileOffset, columns::kExtentDataOffset,
    columns::kExtentLength,       columns::kXattrIno,         columns::kXattrName,
    columns::kXattrValue,         columns::kBadRegion,        columns::kBadKind,
    columns::kBadStart,           columns::kBadLength,        columns::kSettingSerial,
    columns::kSettingName,        columns::kSettingValue,     columns::kEventSeq,
    columns::kEventTime,          columns::kEventKind,        columns::kEventNamespace,
    columns::kEventStart,         columns::kEventLength,      columns::kEventFile,
    columns::kEventFileOffset,    columns::kEventFileLength,  columns::kChecksumSerial,
    columns::kChecksumValue,
};

bool is_within(int64_t value, const Column& column) {
  return value >= column.min && value <= column.max;
}

// Makes a text or blob, which may be anything, safe to show.
std::string shown(std::string_view bytes) {
  std::string text = "'";
  for (const char c : bytes.substr(0, kShownBytes)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f) {
      text += fmt::format("\\x{:02x}", byte);
    } else {
      text += c;
    }
  }
  return text + (bytes.size() > kShownBytes ? "…'" : "'");
}

std::string shown(const Statement& row, int index) {
  switch (row.column_type(index)) {
    case Statement::Type::kNull:
      return "NULL";
    case Statement::Type::kInteger:
      return fmt::format("{}", row.column_int(index));
    case Statement::Type::kReal:
      return "a number with a fraction";
    case Statement::Type::kText:
      return fmt::format("the text {}", shown(row.column_view(index)));
    case Statement::Type::kBlob:
      return fmt::format("the blob {} of {} bytes", shown(row.column_view(index)),
                         row.column_view(index).size());
  }
  return {};
}

}  // namespace

std::span<const Column> all_columns() { return kColumns; }

bool Column::accepts(const Statement::Value& value) const {
  const Statement::Type stored = value.type();
  if (stored == Statement::Type::kNull) return is_nullable;
  if (type == Type::kInteger) {
    if (stored != Statement::Type::kInteger) return false;
    const int64_t number = value.integer();
    return is_within(number, *this) && (number & (align - 1)) == 0 &&
           (is_legal_integer == nullptr || is_legal_integer(number));
  }
  if (stored != (type == Type::kText ? Statement::Type::kText : Statement::Type::kBlob)) {
    return false;
  }
  const std::string_view bytes = value.bytes();
  return is_within(static_cast<int64_t>(bytes.size()), *this) &&
         (is_legal_bytes == nullptr || is_legal_bytes(bytes));
}

std::string Column::problem(const Statement& row, int index) const {
  std::string wanted;
  if (type == Type::kInteger) {
    wanted = fmt::format("an integer in [{}, {}]", min, max);
    if (align > 1) wanted += fmt::format(", a multiple of {}", align);
  } else {
    wanted = fmt::format("a {} of {} to {} bytes", type == Type::kText ? "text" : "blob", min, max);
  }
  if (is_legal_integer != nullptr || is_legal_bytes != nullptr) wanted += " of the known form";
  return fmt::format("{}.{} is {}, not {}", table, name, shown(row, index), wanted);
}

Result<void> RowReader::done() const {
  if (bad_ == nullptr) [[likely]] {
    return {};
  }
  return fail(EIO, "pool.db: " + bad_->problem(row_, bad_index_), kDamagedHint);
}

}  // namespace pmemd

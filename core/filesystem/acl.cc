#include "core/filesystem/acl.h"

#include <endian.h>
#include <sys/stat.h>

#include <cstring>

namespace pmemd {
namespace {

// The value: a version, then the entries; little endian.
constexpr uint32_t kVersion = 2;
constexpr uint32_t kNoId = UINT32_MAX;
constexpr size_t kHeaderSize = sizeof(uint32_t);
constexpr size_t kEntrySize = 8;

bool names_an_id(uint16_t tag) { return tag == kAclUser || tag == kAclGroup; }

uint16_t get_u16(std::string_view from) {
  uint16_t value = 0;
  std::memcpy(&value, from.data(), sizeof value);
  return le16toh(value);
}

uint32_t get_u32(std::string_view from) {
  uint32_t value = 0;
  std::memcpy(&value, from.data(), sizeof value);
  return le32toh(value);
}

void put_u16(std::string& to, uint16_t value) {
  value = htole16(value);
  to.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_u32(std::string& to, uint32_t value) {
  value = htole32(value);
  to.append(reinterpret_cast<const char*>(&value), sizeof value);
}

bool is_valid(const Acl& acl) {
  uint16_t seen = 0;
  uint16_t last = 0;
  for (const AclEntry& entry : acl) {
    if (entry.perm > 7 || entry.tag < last) return false;
    switch (entry.tag) {
      case kAclUser:
      case kAclGroup:
        if (entry.id == kNoId) return false;
        break;
      case kAclUserObj:
      case kAclGroupObj:
      case kAclMask:
      case kAclOther:
        if ((seen & entry.tag) != 0) return false;
        break;
      default:
        return false;
    }
    seen |= entry.tag;
    last = entry.tag;
  }
  constexpr uint16_t kAlways = kAclUserObj | kAclGroupObj | kAclOther;
  const bool wants_mask = (seen & (kAclUser | kAclGroup)) != 0;
  return (seen & kAlways) == kAlways && (!wants_mask || (seen & kAclMask) != 0);
}

bool has_mask(const Acl& acl) {
  for (const AclEntry& entry : acl) {
    if (entry.tag == kAclMask) return true;
  }
  return false;
}

// How far left an entry's three bits are in the mode; -1: it has none there.
int mode_shift(uint16_t tag, bool masked) {
  switch (tag) {
    case kAclUserObj:
      return 6;
    case kAclGroupObj:
      return masked ? -1 : 3;
    case kAclMask:
      return 3;
    case kAclOther:
      return 0;
    default:
      return -1;
  }
}

}  // namespace

Result<Acl> parse_acl(std::string_view value) {
  Acl acl;
  if (value.empty()) return acl;
  if (value.size() < kHeaderSize) return fail(EINVAL);
  if (get_u32(value) != kVersion) return fail(EOPNOTSUPP);
  value.remove_prefix(kHeaderSize);
  if (value.size() % kEntrySize != 0) return fail(EINVAL);
  for (; !value.empty(); value.remove_prefix(kEntrySize)) {
    AclEntry entry{get_u16(value), get_u16(value.substr(2)), get_u32(value.substr(4))};
    if (!names_an_id(entry.tag)) entry.id = kNoId;
    acl.push_back(entry);
  }
  if (!acl.empty() && !is_valid(acl)) return fail(EINVAL);
  return acl;
}

std::string encode_acl(const Acl& acl) {
  std::string value;
  put_u32(value, kVersion);
  for (const AclEntry& entry : acl) {
    put_u16(value, entry.tag);
    put_u16(value, entry.perm);
    put_u32(value, names_an_id(entry.tag) ? entry.id : kNoId);
  }
  return value;
}

mode_t acl_mode(const Acl& acl) {
  mode_t mode = 0;
  const bool masked = has_mask(acl);
  for (const AclEntry& entry : acl) {
    const int shift = mode_shift(entry.tag, masked);
    if (shift >= 0) mode |= static_cast<mode_t>(entry.perm) << shift;
  }
  return mode;
}

bool acl_is_only_mode(const Acl& acl) {
  for (const AclEntry& entry : acl) {
    if (names_an_id(entry.tag) || entry.tag == kAclMask) return false;
  }
  return true;
}

void chmod_acl(Acl& acl, mode_t mode) {
  const bool masked = has_mask(acl);
  for (AclEntry& entry : acl) {
    const int shift = mode_shift(entry.tag, masked);
    if (shift >= 0) entry.perm = static_cast<uint16_t>((mode >> shift) & 7);
  }
}

InheritedAcl inherit_acl(const Acl& acl, mode_t mode) {
  // Each can only take away permissions that the other grants.
  Acl access = acl;
  chmod_acl(access, mode & acl_mode(acl));
  InheritedAcl inherited{(mode & ~ACCESSPERMS) | acl_mode(access), std::nullopt};
  if (!acl_is_only_mode(access)) inherited.access = std::move(access);
  return inherited;
}

}  // namespace pmemd

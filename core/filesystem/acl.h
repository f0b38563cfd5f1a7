// POSIX access control lists, as the system.posix_acl_* extended attributes carry them.
//
// The access ACL and the mode's permission bits are two views of one thing: the owner's, the
// group's (or, where there is one, the mask's) and the others' entries are the mode's nine bits.
//
// Thread contract: pure functions.
// Models: fs/posix_acl.c posix_acl_valid(), posix_acl_equiv_mode(), __posix_acl_chmod(),
// posix_acl_create() @v6.12; POSIX 1003.1e draft 17, section 23.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "core/pool/columns.h"

namespace pmemd {

// In the order in which a valid ACL has them.
enum AclTag : uint16_t {
  kAclUserObj = 0x01,
  kAclUser = 0x02,
  kAclGroupObj = 0x04,
  kAclGroup = 0x08,
  kAclMask = 0x10,
  kAclOther = 0x20,
};

struct AclEntry {
  uint16_t tag = 0;
  uint16_t perm = 0;  // rwx
  uint32_t id = 0;    // of kAclUser and kAclGroup
  bool operator==(const AclEntry&) const = default;
};
using Acl = std::vector<AclEntry>;

// No entries: the value means "no ACL". EINVAL: malformed, or not a valid ACL (a missing or
// repeated entry, wrong order, no mask where one is needed). EOPNOTSUPP: another version.
Result<Acl> parse_acl(std::string_view value);
std::string encode_acl(const Acl& acl);

// The nine permission bits that belong to an access ACL.
mode_t acl_mode(const Acl& acl);
// Whether it says no more than the mode: such an access ACL isn't kept.
bool acl_is_only_mode(const Acl& acl);
// Changes an access ACL as chmod does.
void chmod_acl(Acl& acl, mode_t mode);

// What a new inode in a directory with default ACL `acl` gets; `mode` as asked for (no umask).
struct InheritedAcl {
  mode_t mode = 0;            // all bits of it
  std::optional<Acl> access;  // if the mode doesn't say it all
};
InheritedAcl inherit_acl(const Acl& acl, mode_t mode);

}  // namespace pmemd

// The ways to name a file of the mount. All mean the same file:
//
//   /pmem0/dir/a             from the mount's root: as replies and events name it
//   /mnt/pmem/pmem0/dir/a    the same, with the path of the mount before it
//   namespace0.0:/dir/a      in its namespace or volume
//
// Any part may have wildcards, where the caller accepts them (core/base/glob.h).
//
// Thread contract: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "core/base/error.h"

namespace pmemd {

struct FileName {
  std::string object;  // "namespace0.0"; empty: named by its device
  std::string device;  // "pmem0"; empty: by its object, or it is the mount's root
  std::string path;    // below that: "/dir/a"; empty: itself
};

// `mount`: the mount point; empty: not known. EINVAL: none of the above, or a device that no mount
// shows.
Result<FileName> parse_file_name(std::string_view text, std::string_view mount);

// Whether `text` can be an object's name ("namespace0.1", "volume0", "region0"), existing or not.
bool is_object_name(std::string_view text);

}  // namespace pmemd

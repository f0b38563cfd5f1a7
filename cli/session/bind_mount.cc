#include "cli/session/bind_mount.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "core/base/mount_table.h"

namespace pmemd::cli {

std::optional<std::string> path_behind_bind_mount(const std::string& path,
                                                  const std::string& mount) {
  struct statx file = {}, root = {};
  constexpr unsigned kWanted = STATX_INO | STATX_MNT_ID;
  if (statx(AT_FDCWD, path.c_str(), 0, kWanted, &file) != 0 ||
      statx(AT_FDCWD, mount.c_str(), 0, kWanted, &root) != 0 ||
      file.stx_dev_major != root.stx_dev_major || file.stx_dev_minor != root.stx_dev_minor ||
      (file.stx_mask & STATX_MNT_ID) == 0) {
    return {};
  }
  const auto table = read_mount_table();
  const MountInfo* const bind = find_mount_id(table, file.stx_mnt_id);
  if (bind == nullptr || !path.starts_with(bind->point)) return {};
  const std::string rest = path.substr(bind->point == "/" ? 0 : bind->point.size());
  return bind->root == "/" ? rest : bind->root + rest;
}

}  // namespace pmemd::cli

#include "core/filesystem/paths.h"

#include <string_view>
#include <utility>

#include "core/base/mutex.h"
#include "core/database/database.h"
#include "core/pool/schema.h"

namespace pmemd {
namespace {

// Whether the path leads to the inode. An entry that can't be read leads nowhere.
bool leads_to(Rows& rows, uint64_t root, std::string_view path, uint64_t ino) {
  uint64_t at = root;
  while (!path.empty()) {
    if (path.front() != '/') return false;
    path.remove_prefix(1);
    const std::string_view name = path.substr(0, path.find('/'));
    path.remove_prefix(name.size());
    if (name.empty()) continue;
    const auto entry = rows.dirent(at, name);
    if (!entry || !*entry) return false;
    at = (*entry)->ino;
  }
  return at == ino;
}

}  // namespace

Paths paths_of_names(const Rows::Names& names, uint64_t root, const std::set<uint64_t>& inos) {
  Paths paths;
  for (const uint64_t ino : inos) {
    std::string path;
    uint64_t at = ino;
    // At most as many steps as there are entries: a damaged pool may have a loop.
    for (size_t steps = 0; at != root && steps <= names.size(); ++steps) {
      const auto found = names.find(at);
      if (found == names.end()) break;
      path.insert(0, "/" + found->second.second);
      at = found->second.first;
    }
    if (at == root) paths.emplace(ino, path.empty() ? "/" : path);
  }
  return paths;
}

Result<Paths> paths_of_inodes(Database& db, uint64_t serial, uint64_t data_bytes,
                              const Paths& hints) {
  const uint64_t root = make_inode_number(serial, kRootIndex);
  Paths paths;
  std::set<uint64_t> others;
  MutexLock lock(db.mutex());
  PMEMD_ASSIGN(Rows rows, Rows::prepare(db, serial, data_bytes));
  for (const auto& [ino, hint] : hints) {
    if (ino == root) {
      paths[ino] = "/";
    } else if (!hint.empty() && leads_to(rows, root, hint, ino)) {
      paths[ino] = hint;
    } else {
      const auto row = rows.inode(ino);
      if (row && *row && (*row)->nlink != 0) others.insert(ino);
    }
  }
  if (others.empty()) return paths;
  PMEMD_ASSIGN(const auto names, rows.names_of(others));
  paths.merge(paths_of_names(names, root, others));
  return paths;
}

}  // namespace pmemd

#include "core/base/directory.h"

#include <dirent.h>
#include <fcntl.h>

#include <cerrno>
#include <memory>
#include <string_view>

namespace pmemd {
namespace {

struct Close {
  void operator()(DIR* opened) const { ::closedir(opened); }
};
using OpenDirectory = std::unique_ptr<DIR, Close>;

// Nothing: there are no more names.
Result<std::optional<std::string>> next_name(const OpenDirectory& opened, const std::string& path) {
  while (true) {
    errno = 0;
    const dirent* const entry = ::readdir(opened.get());  // NOLINT(concurrency-mt-unsafe): own DIR
    if (entry == nullptr && errno != 0) return fail_errno(path);
    if (entry == nullptr) return std::nullopt;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") return std::string(name);
  }
}

}  // namespace

Result<std::vector<std::string>> names_in(const std::string& directory) {
  const OpenDirectory opened(::opendir(directory.c_str()));
  if (!opened) return fail_errno(directory);
  std::vector<std::string> names;
  while (true) {
    PMEMD_ASSIGN(auto name, next_name(opened, directory));
    if (!name) return names;
    names.push_back(*std::move(name));
  }
}

Result<std::optional<std::string>> any_name_in(const UniqueFd& directory, const std::string& path) {
  UniqueFd readable(::openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!readable) return fail_errno(path);
  const OpenDirectory opened(::fdopendir(readable.get()));
  if (!opened) return fail_errno(path);
  (void)readable.release();
  return next_name(opened, path);
}

}  // namespace pmemd

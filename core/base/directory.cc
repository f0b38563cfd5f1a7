#include "core/base/directory.h"

#include <dirent.h>

#include <cerrno>
#include <memory>
#include <string_view>

namespace pmemd {

Result<std::vector<std::string>> names_in(const std::string& directory) {
  const auto close = [](DIR* opened) { ::closedir(opened); };
  const std::unique_ptr<DIR, decltype(close)> opened(::opendir(directory.c_str()));
  if (!opened) return fail_errno(directory);
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* const entry = ::readdir(opened.get());  // NOLINT(concurrency-mt-unsafe): own DIR
    if (entry == nullptr && errno != 0) return fail_errno(directory);
    if (entry == nullptr) return names;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
}

}  // namespace pmemd

#include "core/base/file_name.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>

#include "core/base/glob.h"

namespace pmemd {
namespace {

struct Numbered {
  std::string_view prefix;
  int min_numbers, max_numbers;  // with dots between them
};
constexpr std::array kObjects = {Numbered{"namespace", 2, 2}, Numbered{"volume", 1, 1},
                                 Numbered{"region", 1, 1}};
// As NamespaceRecord::device_name() and VolumeRecord::device_name() make them.
constexpr std::array kDevices = {Numbered{"pmem", 1, 2}, Numbered{"dax", 2, 2},
                                 Numbered{"hmm", 2, 2}, Numbered{"p2p", 2, 2},
                                 Numbered{"vol", 1, 1}};

bool is_one_of(std::string_view text, std::span<const Numbered> forms) {
  return std::ranges::any_of(forms, [&](const Numbered& form) {
    if (!text.starts_with(form.prefix)) return false;
    int numbers = 0;
    bool in_number = false;
    for (const char c : text.substr(form.prefix.size())) {
      const bool is_digit = c >= '0' && c <= '9';
      if (!is_digit && (c != '.' || !in_number)) return false;
      if (is_digit && !in_number) ++numbers;
      in_number = is_digit;
    }
    return in_number && numbers >= form.min_numbers && numbers <= form.max_numbers;
  });
}

FileName named_by_device(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of('/'), text.size()));
  const size_t slash = std::min(text.find('/'), text.size());
  return {.object = {},
          .device = std::string(text.substr(0, slash)),
          .path = std::string(text.substr(slash))};
}

bool may_be_shown(const FileName& name) {
  return name.device.empty() || has_wildcards(name.device) || is_one_of(name.device, kDevices);
}

}  // namespace

bool is_object_name(std::string_view text) { return is_one_of(text, kObjects); }

Result<FileName> parse_file_name(std::string_view text, std::string_view mount) {
  const size_t slash = text.find('/');
  if (slash == 0) {
    if (!mount.empty() && text.starts_with(mount) &&
        (text.size() == mount.size() || text[mount.size()] == '/')) {
      auto name = named_by_device(text.substr(mount.size()));
      if (may_be_shown(name)) return name;
    }
    auto name = named_by_device(text);
    if (may_be_shown(name)) return name;
  } else if (slash != std::string_view::npos && text[slash - 1] == ':' &&
             is_object_name(text.substr(0, slash - 1))) {
    return FileName{.object = std::string(text.substr(0, slash - 1)),
                    .device = {},
                    .path = std::string(text.substr(slash))};
  }
  return fail(EINVAL, fmt::format("file '{}': not in the mount", text),
              "its path, or /pmem0/dir/a from the mount's root, or namespace0.0:/dir/a");
}

}  // namespace pmemd

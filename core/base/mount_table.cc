#include "core/base/mount_table.h"

#include <sys/sysmacros.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <new>
#include <sstream>

namespace pmemd {
namespace {

bool is_octal(char c) { return c >= '0' && c <= '7'; }

// mountinfo writes space, tab, newline and backslash as \ooo.
std::string unescape(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && is_octal(text[i + 1]) && is_octal(text[i + 2]) &&
        is_octal(text[i + 3])) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                 (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// A stream swallows exceptions: without this check, a line that it had no memory for would be
// missing silently.
void check_stream(const std::ios& stream) {
  if (stream.bad()) throw std::bad_alloc();
}

template <class Number>
bool parse(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

// "36 35 0:44 / /mnt/pmem rw,nosuid shared:1 - fuse.pmemd pmemd:/pool rw,user_id=0"
std::optional<MountInfo> parse_mount(const std::string& line) {
  std::istringstream fields(line);
  std::string id, parent, device, root, point, word, source;
  fields >> id >> parent >> device >> root >> point;
  while (fields >> word && word != "-") {
  }
  MountInfo mount;
  fields >> mount.type >> source >> mount.options;
  check_stream(fields);
  const size_t colon = device.find(':');
  unsigned major = 0, minor = 0;
  if (!fields || colon == std::string::npos || !parse(id, mount.id) ||
      !parse(parent, mount.parent_id) || !parse(std::string_view(device).substr(0, colon), major) ||
      !parse(std::string_view(device).substr(colon + 1), minor)) {
    return std::nullopt;
  }
  mount.device_number = makedev(major, minor);
  mount.root = unescape(root);
  mount.point = unescape(point);
  mount.source = unescape(source);
  return mount;
}

std::vector<MountInfo> read_mount_table() {
  std::vector<MountInfo> table;
  std::ifstream file("/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    if (auto mount = parse_mount(line)) table.push_back(*std::move(mount));
  }
  check_stream(file);
  return table;
}

const MountInfo* find_mount_id(const std::vector<MountInfo>& table, uint64_t id) {
  const auto found = std::ranges::find(table, id, &MountInfo::id);
  return found == table.end() ? nullptr : &*found;
}

std::optional<uid_t> fuse_owner(const MountInfo& mount) {
  if (mount.type != "fuse" && mount.type != "fuseblk" && !mount.type.starts_with("fuse.")) {
    return std::nullopt;
  }
  constexpr std::string_view kKey = "user_id=";
  std::istringstream options(mount.options);
  for (std::string option; std::getline(options, option, ',');) {
    uid_t uid = 0;
    if (option.starts_with(kKey) && parse(std::string_view(option).substr(kKey.size()), uid)) {
      return uid;
    }
  }
  check_stream(options);
  return std::nullopt;
}

}  // namespace pmemd

#include "core/events/event_filter.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "core/base/file_name.h"
#include "core/base/glob.h"
#include "core/pool/records.h"

namespace pmemd {
namespace {

std::vector<std::string_view> words_of(std::string_view list) {
  std::vector<std::string_view> words;
  while (!list.empty()) {
    const std::string_view word = list.substr(0, list.find(','));
    list.remove_prefix(word.size() + (word.size() < list.size() ? 1 : 0));
    if (!word.empty()) words.push_back(word);
  }
  return words;
}

bool concerns_all_files(EventKind kind) {
  return kind == EventKind::kPreRemove || kind == EventKind::kRemoved ||
         kind == EventKind::kEnabled || kind == EventKind::kShutdown ||
         kind == EventKind::kDestroyed;
}

// "/pmem0/a" becomes "/a"; "/pmem0" becomes "/".
std::string_view below_device(std::string_view path) {
  const size_t slash = path.find('/', 1);
  return slash == std::string_view::npos ? "/" : path.substr(slash);
}

// Whether the mount may show the namespace or volume of that name under a name that `pattern`
// matches. The object's name doesn't tell its mode, but no two objects are shown alike.
bool may_be_shown_as(const std::string& name, std::string_view pattern) {
  NamespaceRecord record;
  VolumeRecord volume;
  const auto matches = [&](const auto& of) {
    return of.name() == name && glob_matches_name(pattern, of.device_name());
  };
  if (std::sscanf(name.c_str(), "volume%u", &volume.id) == 1) return matches(volume);
  if (std::sscanf(name.c_str(), "namespace%u.%u", &record.region, &record.id) != 2) return false;
  return std::ranges::any_of(kNamespaceModes, [&](NamespaceMode mode) {
    record.mode = mode;
    return matches(record);
  });
}

}  // namespace

Result<EventFilter> EventFilter::parse(std::string_view namespaces, std::string_view kinds,
                                       std::string_view file, std::string_view mount) {
  EventFilter filter;
  const auto names = words_of(namespaces);
  const auto texts = words_of(kinds);
  if (names.size() > kMaxWords || texts.size() > kMaxWords) {
    return fail(EINVAL, fmt::format("more than {} names or kinds", kMaxWords));
  }
  for (const std::string_view name : names) {
    if (is_object_name(name)) continue;
    return fail(EINVAL, fmt::format("namespace '{}': no such name", name),
                "namespace0.0, volume0 or region0");
  }
  filter.namespaces_.assign(names.begin(), names.end());
  filter.kinds_.reserve(texts.size());
  for (const std::string_view text : texts) {
    const auto kind = parse_event_kind(text);
    if (!kind) {
      return fail(EINVAL, fmt::format("kind '{}': none of {}", text, all_event_kinds()));
    }
    filter.kinds_.push_back(*kind);
  }
  if (file.empty()) return filter;
  PMEMD_ASSIGN(FileName name, parse_file_name(file, mount));
  filter.file_ = name.object.empty() ? "/" + name.device + name.path : name.path;
  filter.file_namespace_ = std::move(name.object);
  return filter;
}

bool EventFilter::matches(const Event& event) const {
  const auto has = [](const auto& list, const auto& value) {
    return list.empty() || std::ranges::find(list, value) != list.end();
  };
  if (!has(namespaces_, event.name_of_namespace) || !has(kinds_, event.kind)) return false;
  if (file_.empty()) return true;
  if (!event.file) {
    if (!concerns_all_files(event.kind)) return false;
    if (!file_namespace_.empty()) return event.name_of_namespace == file_namespace_;
    const auto names = path_names(file_);
    return names.empty() || may_be_shown_as(event.name_of_namespace, names.front());
  }
  if (file_namespace_.empty()) return glob_matches_path(file_, event.file->path);
  return event.name_of_namespace == file_namespace_ &&
         glob_matches_path(file_, below_device(event.file->path));
}

}  // namespace pmemd

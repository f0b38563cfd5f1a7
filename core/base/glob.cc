#include "core/base/glob.h"

#include <cstddef>

namespace pmemd {
namespace {

// Matches the pattern's first element against one byte; moves `pattern` past it.
bool take_one(std::string_view& pattern, char byte) {
  const char first = pattern.front();
  pattern.remove_prefix(1);
  if (first == '?') return true;
  if (first == '\\' && !pattern.empty()) {
    const bool same = pattern.front() == byte;
    pattern.remove_prefix(1);
    return same;
  }
  const size_t close =
      first == '[' ? pattern.find(']', pattern.starts_with('!') ? 2 : 1) : std::string_view::npos;
  if (close == std::string_view::npos) return first == byte;
  std::string_view set = pattern.substr(0, close);
  pattern.remove_prefix(close + 1);
  const bool wanted = !set.starts_with('!');
  if (!wanted) set.remove_prefix(1);
  const auto order = [](char c) { return static_cast<unsigned char>(c); };
  for (size_t i = 0; i < set.size(); ++i) {
    const bool is_span = i + 2 < set.size() && set[i + 1] == '-';
    const char last = is_span ? set[i + 2] : set[i];
    if (order(set[i]) <= order(byte) && order(byte) <= order(last)) return wanted;
    if (is_span) i += 2;
  }
  return !wanted;
}

}  // namespace

bool glob_matches_name(std::string_view pattern, std::string_view name) {
  // After the last '*', and where its match began in the name: only that match need grow.
  std::string_view behind_star, star_name;
  bool has_star = false;
  while (true) {
    if (pattern.starts_with('*')) {
      pattern.remove_prefix(1);
      has_star = true;
      behind_star = pattern;
      star_name = name;
      continue;
    }
    if (name.empty() && pattern.empty()) return true;
    if (!name.empty() && !pattern.empty()) {
      std::string_view rest = pattern;
      if (take_one(rest, name.front())) {
        pattern = rest;
        name.remove_prefix(1);
        continue;
      }
    }
    if (!has_star || star_name.empty()) return false;
    star_name.remove_prefix(1);
    name = star_name;
    pattern = behind_star;
  }
}

std::vector<std::string_view> path_names(std::string_view path) {
  std::vector<std::string_view> names;
  while (!path.empty()) {
    const std::string_view name = path.substr(0, path.find('/'));
    path.remove_prefix(name.size() + (name.size() < path.size() ? 1 : 0));
    if (!name.empty()) names.push_back(name);
  }
  return names;
}

bool glob_matches_path(std::string_view pattern, std::string_view path) {
  const auto patterns = path_names(pattern);
  const auto names = path_names(path);
  if (patterns.size() > names.size()) return false;
  for (size_t i = 0; i < patterns.size(); ++i) {
    if (!glob_matches_name(patterns[i], names[i])) return false;
  }
  return true;
}

bool has_wildcards(std::string_view pattern) {
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '\\') {
      ++i;
    } else if (pattern[i] == '*' || pattern[i] == '?' ||
               (pattern[i] == '[' && pattern.find(']', i) != std::string_view::npos)) {
      return true;
    }
  }
  return false;
}

std::string without_escapes(std::string_view pattern) {
  std::string text;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '\\' && i + 1 < pattern.size()) ++i;
    text += pattern[i];
  }
  return text;
}

}  // namespace pmemd

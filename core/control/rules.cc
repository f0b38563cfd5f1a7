#include "core/control/rules.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <vector>

namespace pmemd {
namespace {

enum class Kind {
  kOneOf,    // exactly one of these
  kAnyOf,    // at least one of these
  kNeeds,    // the first only with one of the others
  kExcludes  // the first with none of the others
};

struct Rule {
  Kind kind;
  std::array<std::string_view, 4> names;  // fewer: the rest are empty
};

struct MethodRules {
  std::string_view method;
  std::span<const Rule> rules;
};

constexpr Rule kRemoval[] = {
    {Kind::kNeeds, {"surprise", "force", "dry_run"}},
    {Kind::kNeeds, {"kill", "force", "dry_run"}},
    {Kind::kNeeds, {"abandon", "force", "dry_run"}},
    {Kind::kNeeds, {"grace_ms", "force", "dry_run"}},
    {Kind::kExcludes, {"wait_ms", "force"}},
};
constexpr Rule kInjectError[] = {
    {Kind::kOneOf, {"namespace", "file"}},
    {Kind::kNeeds, {"seed", "random"}},
    {Kind::kExcludes, {"after_ms", "nth", "on"}},
    {Kind::kExcludes, {"dry_run", "nth", "on", "after_ms"}},
};
constexpr Rule kNamespaceOrFile[] = {{Kind::kOneOf, {"namespace", "file"}}};
constexpr Rule kRefs[] = {{Kind::kAnyOf, {"namespace", "file"}}};
constexpr Rule kExplain[] = {{Kind::kOneOf, {"pfn", "address"}}};
constexpr Rule kStartScrub[] = {{Kind::kNeeds, {"offset", "object"}},
                                {Kind::kNeeds, {"length", "object"}}};

constexpr MethodRules kRules[] = {
    {"DisableNamespace", kRemoval},
    {"DisableRegion", kRemoval},
    {"InjectError", kInjectError},
    {"UninjectError", kNamespaceOrFile},
    {"ClearErrors", kNamespaceOrFile},
    {"Prefault", kNamespaceOrFile},
    {"Refs", kRefs},
    {"Explain", kExplain},
    {"StartScrub", kStartScrub},
};

bool is_given(const Json& parameters, std::string_view name) {
  const auto found = parameters.find(name);
  return found != parameters.end() && !found->is_null() && *found != Json(false);
}

// Says what is wrong; empty if the rule holds.
std::string broken(const Rule& rule, const Json& parameters, const Spelling& spell) {
  std::vector<std::string> names, given;
  for (const std::string_view name : rule.names) {
    if (name.empty()) continue;
    names.push_back(spell(name));
    if (is_given(parameters, name)) given.push_back(names.back());
  }
  const bool has_first = !given.empty() && given.front() == names.front();
  const std::span others = std::span(names).subspan(1);
  switch (rule.kind) {
    case Kind::kOneOf:
      if (given.size() == 1) return "";
      if (given.empty()) return fmt::format("wants {}", fmt::join(names, " or "));
      return fmt::format("{}: not together", fmt::join(given, " and "));
    case Kind::kAnyOf:
      return given.empty() ? fmt::format("wants {}", fmt::join(names, " or ")) : "";
    case Kind::kNeeds:
      if (!has_first || given.size() > 1) return "";
      return fmt::format("{}: only with {}", names.front(), fmt::join(others, " or "));
    case Kind::kExcludes:
      if (!has_first || given.size() == 1) return "";
      return fmt::format("{}: not with {}", names.front(), given[1]);
  }
  return "";
}

}  // namespace

Result<void> check_rules(std::string_view method, const Json& parameters, const Spelling& spell) {
  const auto* const found = std::ranges::find(kRules, method, &MethodRules::method);
  if (found == std::ranges::end(kRules)) return {};
  for (const Rule& rule : found->rules) {
    const std::string problem = broken(rule, parameters, spell);
    if (!problem.empty()) return fail(EINVAL, problem);
  }
  return {};
}

}  // namespace pmemd

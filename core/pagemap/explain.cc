#include "core/pagemap/explain.h"

#include <fmt/format.h>

namespace pmemd {

std::string verdict_of(const Explanation& explanation) {
  if (!explanation.pfn_valid) return "no memory: there are no pages";
  if (!explanation.pagemap) {
    return explanation.online ? "System RAM, online"
                              : "a hole: its section is early, so the pfn counts as valid, but "
                                "neither System RAM nor a device is there";
  }
  const auto& pagemap = *explanation.pagemap;
  if (explanation.online) {
    return fmt::format(
        "{}'s, but told to be online: {} is dying, so that get_dev_pagemap() finds nothing, and "
        "System RAM is in the same section",
        pagemap.name, pagemap.name);
  }
  if (!pagemap.pgmap_pfn_valid) {
    return fmt::format("metadata of {}: not online, and no page that programs may have",
                       pagemap.name);
  }
  return fmt::format("a device page of {} ({}): not online{}", pagemap.name,
                     to_string(pagemap.type), pagemap.is_dying ? "; it is being removed" : "");
}

}  // namespace pmemd

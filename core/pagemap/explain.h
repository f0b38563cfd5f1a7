// What the emulated physical map says of one pfn, and why.
//
// The functions that decide record their steps as they decide: PagemapRegistry::explain() passes
// them a list.
//
// Thread contract: values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/pagemap/dev_pagemap.h"
#include "core/pagemap/pfn.h"

namespace pmemd {

// One question that a function asked, its answer, and the evidence for it.
struct ExplainStep {
  std::string function;  // "pfn_to_online_page"
  std::string asked;     // "is the section online?"
  bool yes = false;
  std::string found;  // "section 32 is there, but not online"
};
using ExplainSteps = std::vector<ExplainStep>;

struct Explanation {
  Pfn pfn;
  uint64_t section = 0;
  unsigned subsection = 0;  // in the section
  bool pfn_valid = false;
  bool online = false;  // pfn_to_online_page() gives a page

  struct Pagemap {
    std::string name;
    MemoryType type = MemoryType::kGeneric;
    bool is_dying = false;
    uint64_t references = 0;
    bool pgmap_pfn_valid = false;
  };
  std::optional<Pagemap> pagemap;  // that is registered there, dying or not

  ExplainSteps steps;   // in order
  std::string verdict;  // in words
};

// The verdict that follows from the other fields.
std::string verdict_of(const Explanation& explanation);

}  // namespace pmemd

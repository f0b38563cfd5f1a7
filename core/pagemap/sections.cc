#include "core/pagemap/sections.h"

#include <cassert>

namespace pmemd {
namespace {

const MemSection kNone;

}  // namespace

template <class Visitor>
void PhysicalMap::for_each_section(PhysRange range, Visitor visit) {
  while (!range.empty()) {
    const uint64_t nr = range.begin / kSectionSize;
    const PhysRange here = range.intersect(PhysRange::sized(nr * kSectionSize, kSectionSize));
    const unsigned first = pfn_to_subsection(Pfn::of(here.begin));
    const auto count = static_cast<unsigned>(here.length() / kSubsectionSize);
    visit(nr, (~uint64_t{0} >> (kSubsectionsPerSection - count)) << first);
    range.begin = here.end;
  }
}

MemSection& PhysicalMap::activate(uint64_t section_nr) {
  auto& root = roots_[section_nr / kSectionsPerRoot];
  if (!root) root = std::make_unique<Root>();
  MemSection& section = root->sections[section_nr % kSectionsPerRoot];
  if (!section.is_present_) ++root->present;
  section.is_present_ = true;
  return section;
}

void PhysicalMap::add_system_ram(PhysRange range) {
  for_each_section(range, [&](uint64_t nr, uint64_t bits) {
    MemSection& section = activate(nr);
    assert((section.subsections_ & bits) == 0);
    section.subsections_ |= bits;
    section.is_early_ = true;
    section.is_online_ = true;
  });
  system_ram_.insert(range);
}

void PhysicalMap::add_device(PhysRange range) {
  for_each_section(range, [&](uint64_t nr, uint64_t bits) {
    MemSection& section = activate(nr);
    assert((section.subsections_ & bits) == 0);
    section.subsections_ |= bits;
    section.has_zone_device_ = true;  // no matter if a device has all of it: never online
  });
}

void PhysicalMap::remove_device(PhysRange range) {
  for_each_section(range, [&](uint64_t nr, uint64_t bits) {
    const auto root = roots_.find(nr / kSectionsPerRoot);
    assert(root != roots_.end());
    MemSection& section = root->second->sections[nr % kSectionsPerRoot];
    assert((section.subsections_ & bits) == bits);
    section.subsections_ &= ~bits;
    if (section.subsections_ != 0) return;
    section = {};
    if (--root->second->present == 0) roots_.erase(root);
  });
}

const MemSection& PhysicalMap::section(uint64_t section_nr) const {
  const auto root = roots_.find(section_nr / kSectionsPerRoot);
  return root == roots_.end() ? kNone : root->second->sections[section_nr % kSectionsPerRoot];
}

}  // namespace pmemd

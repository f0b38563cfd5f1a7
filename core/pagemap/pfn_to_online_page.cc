// The functions that decide about a pfn, and how they report it.
#include <fmt/format.h>

#include "core/pagemap/pagemap_registry.h"

namespace pmemd {
namespace {

// A function's questions. Each answer passes through ask() on its way to the branch that it
// decides, so the report matches the decision. Without a list, nothing is put into words.
class Questions {
 public:
  Questions(const char* function, ExplainSteps* steps) : function_(function), steps_(steps) {}

  template <class Found>
  bool ask(const char* asked, bool yes, Found&& found) const {
    if (steps_ != nullptr) steps_->push_back({function_, asked, yes, found()});
    return yes;
  }

 private:
  const char* const function_;
  ExplainSteps* const steps_;
};

bool ask_section_nr(const Questions& questions, uint64_t nr) {
  return questions.ask("is the section number in range?", nr < kSectionEnd,
                       [&] { return fmt::format("section {} of {}", nr, kSectionEnd); });
}

bool ask_subsection(const Questions& questions, const MemSection& section, Pfn pfn) {
  return questions.ask("is the subsection valid?", section.pfn_section_valid(pfn), [&] {
    return fmt::format("subsection {} {}", pfn_to_subsection(pfn),
                       section.pfn_section_valid(pfn) ? "has pages" : "has none");
  });
}

}  // namespace

bool PagemapRegistry::valid(Pfn pfn, ExplainSteps* steps) const {
  const Questions questions("pfn_valid", steps);
  const uint64_t nr = pfn_to_section_nr(pfn);
  if (!ask_section_nr(questions, nr)) return false;
  const MemSection& section = physical_.section(nr);
  if (!questions.ask("is the section there?", section.is_valid(),
                     [&] { return section.is_valid() ? "it has pages" : "nothing is in it"; })) {
    return false;
  }
  // Traditionally all of a section that was present at boot counts, holes included.
  if (questions.ask("is the section early?", section.is_early(), [&] {
        return section.is_early() ? "there from the start: all of it counts, holes too"
                                  : "a device made it: its subsections count";
      })) {
    return true;
  }
  return ask_subsection(questions, section, pfn);
}

bool PagemapRegistry::online(Pfn pfn, ExplainSteps* steps, PagemapRef& found) const {
  const Questions questions("pfn_to_online_page", steps);
  const uint64_t nr = pfn_to_section_nr(pfn);
  if (!ask_section_nr(questions, nr)) return false;
  const MemSection& section = physical_.section(nr);
  if (!questions.ask("is the section online?", section.is_online(), [&] {
        return section.is_online()  ? "it has System RAM"
               : section.is_valid() ? "it has pages of devices only"
                                    : "nothing is in it";
      })) {
    return false;
  }
  if (!ask_subsection(questions, section, pfn)) return false;
  if (!questions.ask("may pages of a device be in the section?", section.is_online_device(), [&] {
        return section.is_online_device() ? "there are, or were"
                                          : "all of its pages are System RAM";
      })) {
    return true;
  }
  found = tryget_live(pfn);
  const DevPagemap* const dying = found || steps == nullptr ? nullptr : find(pfn);
  return !questions.ask("does get_dev_pagemap() find one?", static_cast<bool>(found), [&] {
    if (found) return found->name() + ": no System RAM";
    return dying == nullptr ? "none: System RAM"
                            : dying->name() + " is dying, which counts as none";
  });
}

Explanation PagemapRegistry::explain(Pfn pfn) const {
  Explanation told;
  told.pfn = pfn;
  told.section = pfn_to_section_nr(pfn);
  told.subsection = pfn_to_subsection(pfn);
  PagemapRef put_last;
  MutexLock lock(mutex_);
  told.pfn_valid = valid(pfn, &told.steps);
  told.online = online(pfn, &told.steps, put_last);
  if (DevPagemap* const pagemap = find(pfn)) {
    const uint64_t ours = put_last ? 1 : 0;
    const bool may_have = pmemd::pgmap_pfn_valid(*pagemap, pfn);
    told.pagemap = {.name = pagemap->name(),
                    .type = pagemap->type(),
                    .is_dying = pagemap->ref().is_dying(),
                    .references = pagemap->references() - ours,
                    .pgmap_pfn_valid = may_have};
    Questions("pgmap_pfn_valid", &told.steps).ask("is it behind the metadata?", may_have, [&] {
      return fmt::format("{} begins with {} of metadata", pagemap->name(),
                         format_size(pagemap->metadata_bytes()));
    });
  }
  told.verdict = verdict_of(told);
  return told;
}

}  // namespace pmemd

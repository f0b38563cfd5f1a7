#include "core/removal/look.h"

#include <utility>

namespace pmemd {

void note_who_holds(std::vector<RemovalReport>& reports,
                    const std::vector<const TargetView*>& targets, const KernelPort& kernel) {
  std::vector<const Device*> held;
  for (const TargetView* target : targets) {
    held.push_back(&target->device());
    if (target->is_leg()) held.push_back(&target->files_of());
  }
  const auto all = kernel.holders(held);
  for (size_t i = 0; i < targets.size(); ++i) targets[i]->note_holders(reports[i], all);
}

RemovalOutcome look_at_devices(const std::vector<const Device*>& devices,
                               const std::vector<const Device*>& known, const KernelPort& kernel) {
  RemovalOutcome outcome;
  std::vector<TargetView> views;
  std::vector<const TargetView*> targets;
  views.reserve(devices.size());
  for (const Device* device : devices) {
    TargetView& view = views.emplace_back(*device, volume_that_stays(*device, devices, known));
    targets.push_back(&view);
    outcome.reports.push_back(start_report(*device));
    // ENXIO: the leg is gone already, and nothing lies on it.
    auto found = view.find();
    if (!found && found.err() != ENXIO && outcome.result) outcome.result = std::move(found);
  }
  note_who_holds(outcome.reports, targets, kernel);
  return outcome;
}

}  // namespace pmemd

#include "core/removal/look.h"

#include <memory>
#include <utility>

namespace pmemd {

void note_who_holds(std::vector<RemovalReport>& reports, const std::vector<const Device*>& devices,
                    const std::vector<const LegView*>& legs, const KernelPort& kernel) {
  std::vector<const Device*> held = devices;
  for (const LegView* leg : legs) {
    if (leg != nullptr) held.push_back(&leg->volume());
  }
  const auto all = kernel.holders(held);
  for (size_t i = 0; i < devices.size(); ++i) {
    if (legs[i] != nullptr) {
      legs[i]->note_holders(reports[i], all);
    } else {
      note_holders(reports[i], *devices[i], all);
    }
  }
}

RemovalOutcome look_at_devices(const std::vector<const Device*>& devices,
                               const std::vector<const Device*>& known, const KernelPort& kernel) {
  RemovalOutcome outcome;
  std::vector<std::unique_ptr<LegView>> views;
  std::vector<const LegView*> legs;
  views.reserve(devices.size());
  legs.reserve(devices.size());
  for (const Device* device : devices) {
    views.push_back(LegView::of(*device, devices, known));
    legs.push_back(views.back().get());
    outcome.reports.push_back(start_report(*device));
    if (legs.back() == nullptr) continue;
    // ENXIO: it is gone already, and nothing lies on it.
    auto found = views.back()->find();
    if (!found && found.err() != ENXIO && outcome.result) outcome.result = std::move(found);
  }
  note_who_holds(outcome.reports, devices, legs, kernel);
  return outcome;
}

}  // namespace pmemd

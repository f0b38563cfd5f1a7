#include "core/base/fault.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/mutex.h"

namespace pmemd {
namespace {

struct Points {
  Mutex mutex;
  CondVar disarmed_cv;
  std::vector<FaultPoint*> all;
  uint64_t disarmed = 0;  // how often
};

// Created by the first point and never destroyed: points of other files may be constructed before
// or destroyed after it.
Points& points() {
  static auto* const made = new Points;
  return *made;
}

}  // namespace

FaultPoint::FaultPoint(const char* name, const char* what) : name_(name), what_(what) {
  MutexLock lock(points().mutex);
  points().all.push_back(this);
}

Result<void> FaultPoint::hit_armed() {
  Points& shared = points();
  MutexLock lock(shared.mutex);
  if (left_ == 0) return {};
  ++hits_;
  if (--left_ == 0) armed_.store(false, std::memory_order_release);
  if (plan_.delay.count() == 0) {
    return fail(plan_.err, fmt::format("{}: made to fail", name_), "pmemctl debug clear");
  }
  const Deadline deadline = deadline_after(plan_.delay);
  const uint64_t before = shared.disarmed;
  while (shared.disarmed == before && shared.disarmed_cv.wait_until(shared.mutex, deadline)) {
  }
  return {};
}

Result<void> FaultPoint::arm(std::string_view name, const Plan& plan) {
  if (plan.count == 0) return fail(EINVAL, fmt::format("{}: a count of 0", name));
  if (plan.delay > kMaxDelay) {
    return fail(EINVAL, fmt::format("{}: a delay above {}", name, "10 minutes"));
  }
  MutexLock lock(points().mutex);
  const auto found = std::ranges::find_if(
      points().all, [&](const FaultPoint* point) { return point->name_ == name; });
  if (found == points().all.end()) {
    return fail(ENOENT, fmt::format("{}: no such step", name), "pmemctl debug list shows them");
  }
  (*found)->plan_ = plan;
  (*found)->left_ = plan.count;
  (*found)->armed_.store(true, std::memory_order_release);
  return {};
}

void FaultPoint::disarm_all() {
  MutexLock lock(points().mutex);
  for (FaultPoint* point : points().all) {
    point->left_ = 0;
    point->armed_.store(false, std::memory_order_release);
  }
  ++points().disarmed;
  points().disarmed_cv.notify_all();
}

std::vector<FaultPoint::Info> FaultPoint::list() {
  std::vector<Info> found;
  MutexLock lock(points().mutex);
  for (const FaultPoint* point : points().all) {
    found.push_back({point->name_, point->what_, point->left_, point->hits_, point->plan_.delay});
  }
  std::ranges::sort(found, {}, &Info::name);
  return found;
}

}  // namespace pmemd
